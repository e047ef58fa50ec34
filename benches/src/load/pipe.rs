//! The processes of a run and how they talk: orders on a child's standard input, news on its standard
//! output, each as its length and its bytes (postcard). A single process is a task, with the same
//! orders and news.

use std::path::Path;
use std::process::Stdio;

use anyhow::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::crew::{Job, News, Order, work};
use crate::limits;

/// The argument that makes the program a child.
pub const CHILD: &str = "work";

/// All processes of a run.
pub(super) struct Processes {
    orders: Vec<mpsc::Sender<Order>>,
    news: mpsc::Receiver<(usize, News)>,
    /// Carries orders and news, or does the work of the only process.
    carriers: JoinSet<anyhow::Result<()>>,
    /// Ended with this struct.
    _children: Vec<Child>,
}

/// Writes one message.
pub(super) async fn write<T: Serialize>(
    into: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> anyhow::Result<()> {
    let bytes = postcard::to_stdvec(message).context("encoding a message")?;
    let length = u32::try_from(bytes.len()).context("a message over 4 GiB")?;
    into.write_all(&length.to_be_bytes()).await?;
    into.write_all(&bytes).await?;
    into.flush().await?;
    Ok(())
}

/// Reads one message; `None` at the end.
pub(super) async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
) -> anyhow::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length).await {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read.context("reading a message's length")?,
    };
    let length = usize::try_from(u32::from_be_bytes(length)).context("a length of this system")?;
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).await.context("reading a message")?;
    postcard::from_bytes(&bytes).map(Some).context("decoding a message")
}

impl Processes {
    /// Starts a process for each job, or does the only job here.
    pub(super) fn start(jobs: Vec<Job>, program: Option<&Path>) -> anyhow::Result<Self> {
        let (tell, news) = mpsc::channel(limits::NEWS_MAX);
        let (mut orders, mut children) = (Vec::new(), Vec::new());
        let mut carriers = JoinSet::new();
        let is_alone = jobs.len() == 1;
        for (part, job) in jobs.into_iter().enumerate() {
            let (order, ordered) = mpsc::channel(limits::ORDERS_MAX);
            orders.push(order);
            if is_alone {
                carriers.spawn(alone(job, ordered, tell.clone()));
            } else {
                let program = match program {
                    Some(program) => program.to_owned(),
                    None => std::env::current_exe().context("finding this program")?,
                };
                let mut child = Command::new(program);
                child.args([CHILD, "--threads", &job.site.threads.max(1).to_string()]);
                if job.plan.gives_way(job.part, job.parts) {
                    child.arg("--gives-way");
                }
                let mut child = child
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .kill_on_drop(true)
                    .spawn()
                    .context("starting a process")?;
                let stdin = child.stdin.take().context("a child's input")?;
                let stdout = child.stdout.take().context("a child's output")?;
                carriers.spawn(carry_orders(job, ordered, stdin));
                carriers.spawn(carry_news(part, stdout, tell.clone()));
                children.push(child);
            }
        }
        Ok(Self { orders, news, carriers, _children: children })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.orders.len()
    }

    /// Tells every process the same.
    pub(super) async fn order(&self, order: &Order) -> anyhow::Result<()> {
        for process in &self.orders {
            process.send(order.clone()).await.ok().context("a process of this run has ended")?;
        }
        Ok(())
    }

    /// What a process says, and which.
    pub(super) async fn next(&mut self) -> anyhow::Result<(usize, News)> {
        match self.news.recv().await {
            Some((_, News::Failed(why))) if self.count() == 1 => anyhow::bail!(why),
            Some((part, News::Failed(why))) => anyhow::bail!("process {part}: {why}"),
            Some(news) => Ok(news),
            None => {
                while let Some(carried) = self.carriers.join_next().await {
                    carried.context("a carrier ended by itself")??;
                }
                anyhow::bail!("every process of this run has ended")
            }
        }
    }
}

async fn alone(
    job: Job,
    orders: mpsc::Receiver<Order>,
    tell: mpsc::Sender<(usize, News)>,
) -> anyhow::Result<()> {
    let (news, mut told) = mpsc::channel(limits::NEWS_MAX);
    let carry = async {
        while let Some(news) = told.recv().await {
            // A conductor that is gone needs no news.
            if tell.send((0, news)).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(work(job, orders, news), carry);
    Ok(())
}

async fn carry_orders(
    job: Job,
    mut orders: mpsc::Receiver<Order>,
    mut stdin: impl AsyncWrite + Unpin,
) -> anyhow::Result<()> {
    write(&mut stdin, &job).await.context("telling a process its job")?;
    while let Some(order) = orders.recv().await {
        write(&mut stdin, &order).await.context("telling a process")?;
    }
    Ok(())
}

async fn carry_news(
    part: usize,
    mut stdout: impl AsyncRead + Unpin,
    tell: mpsc::Sender<(usize, News)>,
) -> anyhow::Result<()> {
    let mut is_done = false;
    while let Some(news) = read::<News>(&mut stdout).await? {
        is_done = matches!(news, News::Done(_) | News::Failed(_));
        if tell.send((part, news)).await.is_err() {
            return Ok(());
        }
    }
    if !is_done {
        // Said as news, because the conductor waits for some.
        let _ = tell.send((part, News::Failed("it ended by itself".into()))).await;
    }
    Ok(())
}

/// The whole life of a child: its job and orders from standard input, its news to standard output.
/// It ends when the conductor is gone.
///
/// # Errors
/// When the job cannot be read, or the news cannot be written.
pub async fn child() -> anyhow::Result<()> {
    let mut stdin = tokio::io::stdin();
    let mut stdout = tokio::io::stdout();
    let job: Job = read(&mut stdin).await?.context("a child is told its job; start it without")?;
    let (order, orders) = mpsc::channel(limits::ORDERS_MAX);
    let (news, mut told) = mpsc::channel(limits::NEWS_MAX);
    let hear = async {
        while let Ok(Some(heard)) = read::<Order>(&mut stdin).await {
            if order.send(heard).await.is_err() {
                break;
            }
        }
    };
    let say = async {
        while let Some(news) = told.recv().await {
            let is_last = matches!(news, News::Done(_) | News::Failed(_));
            write(&mut stdout, &news).await?;
            if is_last {
                break;
            }
        }
        anyhow::Ok(())
    };
    let work = async {
        tokio::select! {
            () = work(job, orders, news) => std::future::pending().await,
            // Its input ends with the conductor.
            () = hear => {}
        }
    };
    tokio::select! {
        said = say => said,
        () = work => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_cross_a_pipe_whole_and_end_with_it() {
        let (mut here, mut there) = tokio::io::duplex(64);
        let sent = Order::Settle((0..50).map(|seq| (uuid::Uuid::from_u128(seq), 7)).collect());
        let expected = format!("{sent:?}");
        let writing = tokio::spawn(async move {
            write(&mut here, &sent).await.expect("written");
            write(&mut here, &Order::Open).await.expect("written");
        });
        let read_back: Option<Order> = read(&mut there).await.expect("read");
        assert_eq!(format!("{:?}", read_back.expect("a message")), expected);
        assert!(matches!(read(&mut there).await.expect("read"), Some(Order::Open)));
        assert!(read::<Order>(&mut there).await.expect("the end").is_none());
        writing.await.expect("it ends");
    }
}
