//! Somebody who measures: asks nodes themselves, all the time, when a room accepts. What they send
//! is checked like everybody else's.

use std::time::{Duration, Instant};

use parlance_benches::checker::Sent;
use parlance_client::Http;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::talk::By;
use super::writer::{Message, Writer, post};

/// Between two tries of somebody who presses, and how long one may take.
const PRESS: Duration = Duration::from_millis(25);
const PRESS_WAIT: Duration = Duration::from_secs(5);

impl Writer {
    /// One message that goes to each of these nodes again and again, whatever pause it asks for,
    /// until one of them acknowledges it: how soon the room accepts, for whoever asks the right way.
    pub(crate) async fn presses(self, places: Vec<Http>) -> Vec<Sent> {
        let message = Message { by: By::Press, ..self.message("presses", 0) };
        let mut tries = JoinSet::new();
        for http in places {
            let (token, room) = (self.person.token.clone(), self.room);
            let (key, body) = (message.key, message.body.clone());
            tries.spawn(async move {
                loop {
                    let sent = http.send(&token, room, key, &body);
                    match timeout(PRESS_WAIT, sent).await {
                        Ok(Err(error)) if !error.can_repeat() => return Err(error),
                        Ok(Ok(posted)) => return Ok(posted.seq),
                        Ok(Err(_)) | Err(_) => sleep(PRESS).await,
                    }
                }
            });
        }
        let first = tries.join_next().await.expect("there is a node to ask");
        let fate = self.answered(&message, first.expect("a try does not panic"));
        vec![self.sent(&message, fate, None)]
    }

    /// One message after the other to a node, at this pace and for this long.
    pub(crate) async fn hurries(self, http: Http, pace: Duration, lasting: Duration) -> Vec<Sent> {
        let until = Instant::now() + lasting;
        let mut all = Vec::new();
        while Instant::now() < until && !self.is_over() {
            let message = Message { by: By::Press, ..self.message("hurries", 0) };
            let (token, room, key) = (&self.person.token, self.room, message.key);
            let answer = post(&http, token, room, key, &message.body).await;
            let fate = self.answered(&message, answer);
            all.push(self.sent(&message, fate, None));
            sleep(pace).await;
        }
        all
    }
}
