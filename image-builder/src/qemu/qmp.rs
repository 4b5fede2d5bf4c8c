//! A client of QEMU's machine protocol (QEMU 7.2, "QEMU Machine Protocol Specification"): JSON,
//! one message a line, replies and events mixed.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long QEMU may take to answer; it answers between two instructions of the box.
const ANSWER: Duration = Duration::from_mins(1);

/// Has QEMU speak QMP on its standard input, which is a socket: no name to agree on, no moment at which
/// it is not there yet.
pub const ON_STDIN: [&str; 4] = ["-chardev", "socket,id=qmp,fd=0", "-mon", "chardev=qmp,mode=control"];

/// A connection to one QEMU.
pub struct Qmp {
    stream: BufReader<UnixStream>,
    /// Bytes of a message that has no end yet.
    partial: Vec<u8>,
    /// Events nobody has waited for yet.
    events: VecDeque<Value>,
}

impl Qmp {
    /// Shakes hands with the QEMU at the other end.
    ///
    /// # Errors
    /// There is none, or it speaks something else.
    pub fn connect(stream: UnixStream) -> Result<Self> {
        let mut qmp = Self { stream: BufReader::new(stream), partial: Vec::new(), events: VecDeque::new() };
        let greeting = qmp.message(Instant::now() + ANSWER)?.context("QEMU does not greet")?;
        if greeting.get("QMP").is_none() {
            bail!("not a QMP greeting: {greeting}");
        }
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and answers what it returns.
    ///
    /// # Errors
    /// QEMU's own words, or that it is gone.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        let sent = self.stream.get_mut().write_all(format!("{request}\n").as_bytes());
        sent.with_context(|| format!("sending `{command}` to QEMU"))?;
        let deadline = Instant::now() + ANSWER;
        loop {
            let message = self.message(deadline).with_context(|| format!("`{command}` was under way"))?;
            let message = message.ok_or_else(|| anyhow!("QEMU does not answer `{command}`"))?;
            if let Some(error) = message.get("error") {
                bail!("QEMU refuses `{command}`: {error}");
            }
            match message.get("return") {
                Some(value) => return Ok(value.clone()),
                None => self.events.push_back(message),
            }
        }
    }

    /// Waits for the next event with one of `names`; those before it are dropped. `None` when
    /// `patience` ran out.
    ///
    /// # Errors
    /// QEMU ended first.
    pub fn next_event(&mut self, names: &[&str], patience: Duration) -> Result<Option<Value>> {
        let deadline = Instant::now() + patience;
        loop {
            let event = match self.events.pop_front() {
                Some(event) => event,
                None => match self.message(deadline)? {
                    Some(message) => message,
                    None => return Ok(None),
                },
            };
            if event["event"].as_str().is_some_and(|name| names.contains(&name)) {
                return Ok(Some(event));
            }
        }
    }

    /// As [`Qmp::next_event`], and it must come.
    ///
    /// # Errors
    /// It did not.
    pub fn wait_for(&mut self, name: &str, patience: Duration) -> Result<Value> {
        let event = self.next_event(&[name], patience).with_context(|| format!("waiting for {name}"))?;
        event.ok_or_else(|| anyhow!("QEMU did not report {name} in {patience:?}"))
    }

    /// A command of the human monitor, and its answer.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn monitor(&mut self, command: &str) -> Result<String> {
        let answer = self.execute("human-monitor-command", &json!({ "command-line": command }))?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// Presses and releases keys together, by QEMU's names (`ret`, `esc`, `up`, …).
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn press(&mut self, keys: &[&str]) -> Result<()> {
        let keys: Vec<Value> = keys.iter().map(|key| json!({ "type": "qcode", "data": key })).collect();
        self.execute("send-key", &json!({ "keys": keys })).map(drop)
    }

    /// Presses a key and releases it after so many milliseconds of the box's time.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn hold(&mut self, key: &str, millis: u32) -> Result<()> {
        let keys = json!([{ "type": "qcode", "data": key }]);
        self.execute("send-key", &json!({ "keys": keys, "hold-time": millis })).map(drop)
    }

    /// Restarts the box as its reset button would.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn reset(&mut self) -> Result<()> {
        self.execute("system_reset", &json!({})).map(drop)
    }

    /// Writes the picture on the box's screen to `file`, as PPM.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn screendump(&mut self, file: &Path) -> Result<()> {
        self.execute("screendump", &json!({ "filename": file })).map(drop)
    }

    /// How many instructions the box's CPUs have executed since power-on, where QEMU counts them
    /// (`-icount`). Unlike its clock this stands still while they sleep.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn instructions(&mut self) -> Result<u64> {
        // Of QEMU's record and replay; the count is there without either.
        let replay = self.execute("query-replay", &json!({}))?;
        replay["icount"].as_u64().with_context(|| format!("QEMU counts no instructions: {replay}"))
    }

    /// Ends QEMU.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn quit(&mut self) -> Result<()> {
        self.execute("quit", &json!({})).map(drop)
    }

    /// The next message, `None` at `deadline`.
    fn message(&mut self, deadline: Instant) -> Result<Option<Value>> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.get_ref().set_read_timeout(Some(left)).context("setting a time limit")?;
            match self.stream.read_until(b'\n', &mut self.partial) {
                Ok(_) if self.partial.ends_with(b"\n") => {
                    let message = std::mem::take(&mut self.partial);
                    let text = String::from_utf8_lossy(&message);
                    return serde_json::from_str(&text)
                        .map(Some)
                        .with_context(|| format!("not JSON: {text}"));
                }
                Ok(_) => bail!("QEMU has ended"),
                // What came before the limit stays in `partial`.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // It ended with something from us unread.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => bail!("QEMU has ended"),
                Err(error) => return Err(error).context("reading from QEMU"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A QEMU that says `script` and keeps the line open.
    fn qemu(script: &str) -> (UnixStream, Result<Qmp>) {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
        theirs.write_all(script.as_bytes()).expect("room");
        (theirs, Qmp::connect(ours))
    }

    const GREETING: &str = "{\"QMP\": {}}\r\n{\"event\": \"RESUME\"}\r\n{\"return\": {}}\r\n";

    #[test]
    fn replies_and_events_are_told_apart() {
        let script = r#"{"event":"RESET"}
{"return":"text"}
{"error":{"desc":"no"}}
{"event":"SHUTDOWN","data":{"guest":true}}
"#;
        let (qemu, qmp) = qemu(&format!("{GREETING}{script}"));
        let mut qmp = qmp.expect("greeted");
        assert_eq!(qmp.monitor("info").expect("answered"), "text");
        assert!(qmp.quit().unwrap_err().to_string().contains("no"));
        let event = qmp.wait_for("SHUTDOWN", ANSWER).expect("it came");
        assert_eq!(event["data"]["guest"], true);
        assert_eq!(qmp.next_event(&["RESET"], Duration::from_millis(20)).expect("still there"), None);
        drop(qemu);
        assert!(qmp.next_event(&["RESET"], ANSWER).unwrap_err().to_string().contains("ended"));
    }

    #[test]
    fn what_is_no_qemu_is_refused() {
        assert!(qemu("{\"return\": {}}\n").1.err().expect("refused").to_string().contains("greeting"));
        assert!(qemu("SSH-2.0\n").1.is_err());
    }
}
