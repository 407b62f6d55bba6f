//! Requests that come when they come, however long the answers take: a time is counted from the moment at which its
//! request was to be sent, so that an answer that keeps the next request waiting shows in both.

use std::{
    fs, io, thread,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    Result,
    load::has_token,
    wire::{Door, Wire},
};

/// Each with a connection and a schedule of its own.
const CALLERS: u32 = 8;

/// Which moment of an answer counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    FirstToken,
    End,
}

/// So many requests a second, for so long.
#[derive(Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) per_second: u32,
    pub(crate) length: Duration,
}

/// The times of all requests, shortest first. Threads that sleep, since a runtime's timers count in milliseconds.
pub(crate) fn times(
    door: &Door,
    request: &Bytes,
    schedule: Schedule,
    until: Until,
) -> Result<Vec<Duration>> {
    // Else the kernel wakes them up to 50 µs late. Where it can't be set, that is in all times alike.
    let _ = fs::write("/proc/self/timerslack_ns", "1");
    let pause = Duration::from_secs(1) / schedule.per_second;
    // Time for all of them to have connected.
    let start = Instant::now() + Duration::from_millis(50);
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let (door, request) = (door.clone(), request.clone());
            let first = start + pause * number;
            thread::spawn(move || {
                call(
                    &door,
                    &request,
                    first,
                    pause * CALLERS,
                    start + schedule.length,
                    until,
                )
            })
        })
        .collect();
    let mut times = Vec::new();
    for caller in callers {
        let caller = caller.join().map_err(|_| "a caller panicked")?;
        times.extend(caller?);
    }
    times.sort_unstable();
    Ok(times)
}

fn call(
    door: &Door,
    request: &Bytes,
    first: Instant,
    pause: Duration,
    end: Instant,
    until: Until,
) -> io::Result<Vec<Duration>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut wire = runtime.block_on(Wire::connect(door))?;
    let (mut times, mut intended) = (Vec::new(), first);
    while intended < end {
        thread::sleep(intended.saturating_duration_since(Instant::now()));
        let mut token = None;
        let watched = wire.watch(request, |piece| {
            if until == Until::FirstToken && token.is_none() && has_token(piece) {
                token = Some(intended.elapsed());
            }
        });
        match runtime.block_on(watched)? {
            200 => times.push(token.unwrap_or_else(|| intended.elapsed())),
            status => return Err(io::Error::other(format!("an answer is {status}"))),
        }
        intended += pause;
    }
    Ok(times)
}

/// The time that this share of them does not exceed.
pub(crate) fn at(times: &[Duration], share: f64) -> Duration {
    let index = (times.len().saturating_sub(1) as f64 * share).round() as usize;
    times.get(index).copied().unwrap_or_default()
}
