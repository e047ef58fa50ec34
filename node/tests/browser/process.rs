//! A child process that is ended in order.

use std::process::{Child, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Its end, if it ends in time.
pub(crate) fn wait_for(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be asked") {
            return Some(status);
        }
        if begun.elapsed() > patience {
            return None;
        }
        sleep(Duration::from_millis(20));
    }
}

/// Asks it to end; kills it when it does not.
pub(crate) fn end(child: &mut Child, patience: Duration) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let (Ok(None), Some(pid)) = (child.try_wait(), pid) {
        // It may have ended just now.
        let _ = kill_process(pid, Signal::TERM);
        if wait_for(child, patience).is_some() {
            return;
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// What a first start says on its log: the administrator's name and password.
pub(crate) fn administrator(log: &str) -> Option<(String, String)> {
    let mut lines = log.lines().skip_while(|line| !line.starts_with("first administrator:"));
    let name = lines.next()?.strip_prefix("first administrator:")?.trim().to_owned();
    let password = lines.next()?.trim().strip_prefix("password:")?.trim().to_owned();
    Some((name, password))
}
