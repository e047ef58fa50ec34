//! XMPP (RFC 6120) with rooms of XEP-0045, in plaintext as everything here: SASL PLAIN, a resource, presence,
//! and a room without its history. Accounts are made in band (XEP-0077). It splits stanzas off by
//! their tags and reads no more XML than that.

use std::io::{self, Write as _};

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parlance_client::Server;

use super::{Heard, Pipe, Plan, Seat, Wire, broken};
use crate::limits;

const DOMAIN: &str = "localhost";
const ROOMS: &str = "conference.localhost";
const PASSWORD: &str = "load-generator";

pub(super) struct Xmpp {
    room: String,
}

/// A part of a stream.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    /// Its head: `<?xml …?>`, `<stream:stream …>` or space between stanzas.
    Head,
    /// A whole element.
    Stanza(&'a [u8]),
    /// Its end.
    End,
}

/// Where the tag that begins at `start` ends: after its `>`, which may stand in quotes before.
fn tag_end(held: &[u8], start: usize) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in held.iter().enumerate().skip(start) {
        match (quote, byte) {
            (None, b'\'' | b'"') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            (None, b'>') => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Splits the first part off, with how many bytes it took; `None` when it is not whole.
fn split(held: &[u8]) -> io::Result<Option<(Part<'_>, usize)>> {
    match held {
        [] => return Ok(None),
        [b'<', ..] => {}
        // What servers send to keep a connection alive.
        [byte, ..] if byte.is_ascii_whitespace() => return Ok(Some((Part::Head, 1))),
        _ => return Err(broken("text between stanzas")),
    }
    let (mut at, mut depth) = (0_usize, 0_usize);
    while let Some(end) = tag_end(held, at) {
        let tag = &held[at..end];
        if tag.starts_with(b"<?") || tag.starts_with(b"<stream:stream") {
            return Ok(Some((Part::Head, end)));
        }
        if tag.starts_with(b"</") {
            if depth == 0 {
                return Ok(Some((Part::End, end)));
            }
            depth -= 1;
        } else if !tag.ends_with(b"/>") {
            depth += 1;
        }
        if depth == 0 {
            return Ok(Some((Part::Stanza(&held[..end]), end)));
        }
        let Some(next) = held[end..].iter().position(|byte| *byte == b'<') else { break };
        at = end + next;
    }
    if held.len() > limits::FRAME_BYTES_MAX {
        return Err(broken("a stanza over the bound"));
    }
    Ok(None)
}

fn find(within: &[u8], what: &[u8]) -> Option<usize> {
    within.windows(what.len()).position(|window| window == what)
}

/// What a stanza is to a member.
fn read(stanza: &[u8]) -> Heard<'_> {
    if !stanza.starts_with(b"<message") {
        return Heard::Other;
    }
    let head = tag_end(stanza, 0).unwrap_or(stanza.len());
    if find(&stanza[..head], b"type='error'").is_some() {
        return Heard::Refused(0);
    }
    let Some(body) = find(&stanza[head..], b"<body>") else { return Heard::Other };
    let body = &stanza[head + body + b"<body>".len()..];
    body.iter()
        .position(|byte| *byte == b'<')
        .map_or(Heard::Other, |end| Heard::Message(&body[..end]))
}

fn account(index: usize) -> String {
    format!("load{index}")
}

/// Waits for a stanza that holds `what`, and answers it.
async fn stanza_with(pipe: &mut Pipe, what: &str) -> anyhow::Result<String> {
    let found = pipe.expect(|held| {
        let Some((part, took)) = split(held)? else { return Ok(None) };
        let stanza = match part {
            Part::Head => None,
            Part::Stanza(stanza) => Some(String::from_utf8_lossy(stanza).into_owned()),
            Part::End => return Err(broken("the server ended the stream")),
        };
        let is_it = |stanza: &String| stanza.contains(what);
        let is_error =
            |stanza: &String| stanza.contains("type='error'") || stanza.starts_with("<failure");
        match stanza {
            Some(stanza) if !is_it(&stanza) && is_error(&stanza) => Err(broken(stanza)),
            stanza => Ok(Some((stanza.filter(is_it), took))),
        }
    });
    found.await.with_context(|| format!("waiting for {what:?}"))
}

fn open_stream(out: &mut Vec<u8>) {
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "<?xml version='1.0'?><stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    );
}

impl Wire for Xmpp {
    const ACKNOWLEDGES: bool = false;

    /// Makes an account for each member.
    async fn prepare(server: &Server, plan: &Plan) -> anyhow::Result<()> {
        let mut pipe = Pipe::connect(server).await?;
        open_stream(pipe.out());
        stanza_with(&mut pipe, "<stream:features").await?;
        for index in plan.first..plan.first + plan.connections() {
            let name = account(index);
            write!(
                pipe.out(),
                "<iq type='set' id='{name}' to='{DOMAIN}'><query xmlns='jabber:iq:register'>\
                 <username>{name}</username><password>{PASSWORD}</password></query></iq>"
            )?;
            let answer = stanza_with(&mut pipe, &format!("id='{name}'")).await?;
            ensure!(answer.contains("type='result'"), "making an account: {answer}");
        }
        Ok(())
    }

    async fn join(_server: &Server, pipe: &mut Pipe, seat: Seat) -> anyhow::Result<Self> {
        open_stream(pipe.out());
        stanza_with(pipe, "<stream:features").await?;
        let plain = STANDARD.encode(format!("\0{}\0{PASSWORD}", account(seat.index)));
        write!(
            pipe.out(),
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"
        )?;
        stanza_with(pipe, "<success").await?;
        open_stream(pipe.out());
        stanza_with(pipe, "<stream:features").await?;
        pipe.out().extend_from_slice(
            b"<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
              <resource>load</resource></bind></iq>",
        );
        stanza_with(pipe, "id='bind'").await?;
        let room = format!("room{}@{ROOMS}", seat.room);
        write!(
            pipe.out(),
            "<presence/><presence to='{room}/member{}'><x xmlns='http://jabber.org/protocol/muc'>\
             <history maxstanzas='0'/></x></presence>",
            seat.place
        )?;
        // The room's subject ends what a room says to who enters.
        stanza_with(pipe, "<subject").await?;
        Ok(Self { room })
    }

    fn post(&mut self, id: u64, body: &[u8], out: &mut Vec<u8>) {
        // Writing to a vector cannot fail.
        let _ = write!(out, "<message to='{}' type='groupchat' id='{id}'><body>", self.room);
        out.extend_from_slice(body);
        out.extend_from_slice(b"</body></message>");
    }

    fn hear<'a>(
        &mut self,
        held: &'a [u8],
        _out: &mut Vec<u8>,
    ) -> io::Result<Option<(Heard<'a>, usize)>> {
        match split(held)? {
            None => Ok(None),
            Some((Part::Head, took)) => Ok(Some((Heard::Other, took))),
            Some((Part::Stanza(stanza), _)) if stanza.starts_with(b"<stream:error") => {
                Err(broken(String::from_utf8_lossy(stanza)))
            }
            Some((Part::Stanza(stanza), took)) => Ok(Some((read(stanza), took))),
            Some((Part::End, _)) => Err(broken("the server ended the stream")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"<message to='a@b/c' from=\"r@x/it's>\" type='groupchat' id='1'>\
        <archived by='r' id='1'/><x><y>deep</y></x><body>000hello</body></message>";

    #[test]
    fn a_stanza_is_split_off_only_when_it_is_whole() {
        for cut in 0..MESSAGE.len() {
            assert_eq!(split(&MESSAGE[..cut]).expect("no error"), None, "cut at {cut}");
        }
        let both = [MESSAGE, b"<presence/>"].concat();
        let whole = Some((Part::Stanza(MESSAGE), MESSAGE.len()));
        assert_eq!(split(&both).expect("a stanza"), whole);
        assert_eq!(read(MESSAGE), Heard::Message(b"000hello"));
        let rest = split(&both[MESSAGE.len()..]).expect("a stanza");
        assert_eq!(rest, Some((Part::Stanza(b"<presence/>"), 11)));
    }

    #[test]
    fn the_head_and_the_end_of_a_stream_are_no_stanzas() {
        let head = b"<?xml version='1.0'?><stream:stream id='1' from='x'><stream:features/>";
        assert_eq!(split(head).expect("a head"), Some((Part::Head, 21)));
        assert_eq!(split(&head[21..]).expect("a head"), Some((Part::Head, 31)));
        assert!(matches!(split(&head[52..]), Ok(Some((Part::Stanza(_), 18)))));
        assert_eq!(split(b"</stream:stream>").expect("an end"), Some((Part::End, 16)));
        assert_eq!(split(b"\n<a/>").expect("space"), Some((Part::Head, 1)));
        assert!(split(b"text").is_err());
    }

    #[test]
    fn a_refused_message_is_not_taken_for_one_of_the_room() {
        let refused = b"<message type='error' id='7'><body>000</body><error/></message>";
        assert_eq!(read(refused), Heard::Refused(0));
        assert_eq!(read(b"<message type='groupchat'><subject/></message>"), Heard::Other);
        assert_eq!(read(b"<presence from='x'><body>000</body></presence>"), Heard::Other);
    }
}
