//! A web server for guests: it gives the same bytes to whoever asks for anything.

use anyhow::{Context, Result};
use image_builder::image::hex;
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// Where QEMU's user network shows this computer's loopback (QEMU, "Using the user mode network stack").
const HOST: &str = "10.0.2.2";
/// Most bytes of a request that are read.
const MAX_REQUEST: usize = 4096;

/// A server; its threads run on for as long as this program.
pub struct Web {
    port: u16,
    digest: String,
}

impl Web {
    /// Serves so many bytes, which look like noise, on a loopback port.
    ///
    /// # Errors
    /// There is no port.
    pub fn serve(len: usize) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("opening a port for a web server")?;
        let port = listener.local_addr()?.port();
        let bytes: Arc<[u8]> = noise(len).into();
        let digest = hex(&Sha256::digest(&bytes));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let bytes = Arc::clone(&bytes);
                // A client that goes away early is its own affair.
                thread::spawn(move || answer(client, &bytes));
            }
        });
        Ok(Self { port, digest })
    }

    /// The address for guests.
    pub fn url(&self) -> String {
        format!("http://{HOST}:{}/", self.port)
    }

    /// SHA-256 of what it gives.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

fn answer(mut client: TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    let (mut request, mut chunk) = (Vec::new(), [0; 512]);
    while !request.ends_with(b"\r\n\r\n") && request.len() < MAX_REQUEST {
        match client.read(&mut chunk)? {
            0 => return Ok(()),
            count => request.extend_from_slice(&chunk[..count]),
        }
    }
    write!(client, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len())?;
    client.write_all(bytes)
}

/// Bytes that no link could shorten: xorshift64 (Marsaglia 2003).
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
