//! The answer's side of the stand-in: holds what is not settled yet, lets it out, keeps a quiet stream alive, and cuts
//! off what must not look whole.
//!
//! A timer's writes can be dropped at any await, when something comes from the deployment. So each is queued first, and
//! whatever is written next finishes it first.

use std::time::Instant;

use bytes::Bytes;
use http::{StatusCode, Version, header};
use pingora::{
    Error, ErrorType, Result,
    http::ResponseHeader,
    protocols::http::{HttpTask, ServerSession},
};

use super::{
    coalesce::{are_pieces, joined, polls},
    frames::Frames,
    gate::{GateState, is_final},
    keepalive::Keepalive,
    stand_in::StandIn,
};
use crate::{
    domain::{event_stream::is_readable_stream, forwarding::Mask},
    proxy::half_closed::is_half_closed,
};

impl StandIn {
    /// Takes in what has come of the answer. `true`: it is at its end.
    pub(super) async fn take_in(&mut self, mut tasks: Vec<HttpTask>) -> Result<bool> {
        self.resume().await?;
        if let Some(end) = tasks.iter().position(ends) {
            let mut rest = None;
            let mut gate = self.relay.gate();
            let finished = gate.finish(&mut rest);
            drop(gate);
            if finished.is_err() {
                return Err(not_passed_on());
            }
            if rest.is_some() {
                tasks.insert(end, HttpTask::Body(rest, false));
            }
        }
        let state = self.relay.gate().state;
        match state {
            GateState::Held { until } => self.hold(tasks, until).await,
            GateState::Open => self.let_out(tasks).await,
            GateState::Doomed => self.let_out_doomed(tasks).await,
        }
    }

    async fn hold(&mut self, tasks: Vec<HttpTask>, until: Instant) -> Result<bool> {
        self.answer.hold_until = Some(until);
        for task in tasks {
            match task {
                HttpTask::Header(head, end) if !is_final(&head) => {
                    let task = HttpTask::Header(head, end);
                    self.inner_mut().response_duplex_vec(vec![task]).await?;
                }
                HttpTask::Failed(error) => return Err(error),
                task => self.answer.held.push(task),
            }
        }
        Ok(false)
    }

    /// What is held goes first.
    async fn let_out(&mut self, mut tasks: Vec<HttpTask>) -> Result<bool> {
        self.answer.hold_until = None;
        self.answer.owes = false;
        let come = tasks.len();
        if !self.answer.held.is_empty() {
            tasks.splice(0..0, self.answer.held.drain(..));
        }
        if self.answer.has_come {
            self.forget_body();
        }
        let is_masked = self.masked(&mut tasks);
        self.look_at(&tasks);
        if !is_masked && self.may_wait(&tasks, come) {
            (self.answer.held, self.answer.owes) = (tasks, true);
            return Ok(false);
        }
        if self.is_http2_stream() {
            return self.write_frames(tasks).await;
        }
        if tasks.len() > 1 && are_pieces(&tasks) {
            // Joined here, they leave no buffer behind that would stay as long as the stream.
            tasks = vec![joined(tasks)];
        }
        self.inner_mut().response_duplex_vec(tasks).await
    }

    /// Hides what an error may hold of our credential. Each piece passes here once.
    fn masked(&self, tasks: &mut Vec<HttpTask>) -> bool {
        let mut gate = self.relay.gate();
        gate.mask.as_mut().map(|mask| hide(mask, tasks)).is_some()
    }

    /// The same, but where it would end the transfer is cut off.
    async fn let_out_doomed(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let is_over = tasks.iter().any(ends);
        let body = tasks.into_iter().filter_map(|task| match task {
            HttpTask::Body(piece, _) => Some(HttpTask::Body(piece, false)),
            HttpTask::Done | HttpTask::Trailer(_) => None,
            task => Some(task),
        });
        let mut tasks: Vec<HttpTask> = body.collect();
        if is_over {
            tasks.push(HttpTask::Failed(not_passed_on()));
        }
        self.let_out(tasks).await
    }

    /// Takes note of what is about to go out.
    fn look_at(&mut self, tasks: &[HttpTask]) {
        for task in tasks {
            if let HttpTask::Header(head, _) = task {
                self.answer.is_stream |= may_be_written_in(head);
            }
        }
        if tasks.iter().any(ends) {
            self.answer.is_stream = false;
        }
    }

    fn is_http2_stream(&self) -> bool {
        let is_http2 = matches!(self.inner(), ServerSession::H2(_));
        is_http2 && (self.answer.is_stream || self.answer.frames.is_some())
    }

    async fn write_frames(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut is_ended = false;
        for task in tasks {
            is_ended |= ends(&task);
            match task {
                HttpTask::Header(head, _) => self.send_head(head)?,
                HttpTask::Body(Some(piece), _) => self.frames()?.send(piece).await?,
                HttpTask::Trailer(Some(trailers)) => self.frames()?.end(Some(*trailers))?,
                HttpTask::Failed(error) => return Err(error),
                _ => {}
            }
        }
        if is_ended {
            self.frames()?.end(None)?;
        }
        Ok(is_ended)
    }

    /// Over HTTP/2. It takes no await: nobody can be dropped in the middle of it.
    fn send_head(&mut self, head: Box<ResponseHeader>) -> Result<()> {
        let ServerSession::H2(session) = self.inner_mut() else {
            return Ok(());
        };
        session.write_response_header(head, false)?;
        let patience = session.get_write_timeout();
        if let Some(stream) = session.take_response_body_writer() {
            self.answer.frames = Some(Frames::new(stream, patience));
        }
        Ok(())
    }

    fn frames(&mut self) -> Result<&mut Frames> {
        let frames = self.answer.frames.as_mut();
        frames.ok_or_else(|| Error::explain(ErrorType::InternalError, "a body before its head"))
    }

    /// Finishes what a dropped timer's write left.
    pub(super) async fn resume(&mut self) -> Result<()> {
        resume(self.inner_mut()).await
    }

    /// Waits for the client to leave, and meanwhile for the answer's times. Comes back for nothing else.
    pub(super) async fn idle(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.wait().await {
                Err(error) if is_half_closed(&error) => self.sound_out()?,
                idle => return idle,
            }
        }
    }

    /// Leaves a few bytes to be written that mean nothing to a client which waits, and make one known that has left. In
    /// the middle of an answer there are none: what is written next tells.
    fn sound_out(&mut self) -> Result<()> {
        let written = self.inner().response_written();
        let is_begun = self.answer.head.is_some() || written.is_some_and(is_final);
        let is_between = self.is_between_events();
        let (own, request) = (self.relay.keepalive.as_ref(), self.inner().req_header());
        match is_begun {
            false if request.version == Version::HTTP_11 => {
                let interim = ResponseHeader::build(StatusCode::CONTINUE, Some(0))?;
                self.queue(HttpTask::Header(Box::new(interim), false))
            }
            true if is_between => {
                let agent = request
                    .headers
                    .get(header::USER_AGENT)
                    .map(|agent| agent.as_bytes())
                    .unwrap_or_default();
                let form = own.map(|keepalive| keepalive.form.clone());
                match form.or_else(|| Keepalive::blank(agent)) {
                    Some(form) => self.queue(HttpTask::Body(Some(form), false)),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    async fn wait(&mut self) -> Result<Option<Bytes>> {
        if self.cork.is_some() {
            tokio::select! {
                biased;
                idle = client(self.inner.as_deref_mut(), &mut self.answer.frames) => return idle,
                () = polls(1) => self.push(),
            }
        }
        self.pay().await?;
        loop {
            let wake = self.next_time();
            let client = client(self.inner.as_deref_mut(), &mut self.answer.frames);
            let Some(wake) = wake else {
                return client.await;
            };
            tokio::select! {
                biased;
                idle = client => return idle,
                () = self.alarm.at(wake) => {}
            }
            self.awake(Instant::now())?;
        }
    }

    fn next_time(&self) -> Option<Instant> {
        let times = [self.due, self.answer.hold_until, self.next_keepalive()];
        times.into_iter().flatten().min()
    }

    fn next_keepalive(&self) -> Option<Instant> {
        let keepalive_at = self.answer.keepalive_at;
        keepalive_at.filter(|_| self.is_between_events())
    }

    /// Whether it is a stream that goes out, no event of which is under way.
    fn is_between_events(&self) -> bool {
        self.answer.is_stream && self.relay.gate().answer.is_between_events()
    }

    fn awake(&mut self, now: Instant) -> Result<()> {
        let is_time = |time: Option<Instant>| time.is_some_and(|time| time <= now);
        if is_time(self.due) {
            return Err(self.silent());
        }
        if is_time(self.answer.hold_until) {
            self.let_out_by_time(now)?;
        } else if is_time(self.next_keepalive()) {
            self.keep_alive(now)?;
        }
        Ok(())
    }

    /// The stream has been held for as long as it may be: its head goes out, whatever may follow.
    fn let_out_by_time(&mut self, now: Instant) -> Result<()> {
        let is_body =
            |task: &HttpTask| matches!(task, HttpTask::Body(Some(piece), _) if !piece.is_empty());
        let is_body_among = self.answer.held.iter().any(is_body);
        if self.relay.gate().time_is_up(is_body_among, now).is_err() {
            return Err(self.silent());
        }
        self.answer.hold_until = None;
        self.forget_body();
        let tasks = std::mem::take(&mut self.answer.held);
        self.look_at(&tasks);
        for task in tasks {
            if let HttpTask::Header(head, _) = &task {
                self.answer.head = Some(head.clone());
            }
            self.queue(task)?;
        }
        self.put_off_keepalive(now);
        Ok(())
    }

    /// Leaves a piece to be written, where it can't be lost.
    pub(super) fn queue(&mut self, task: HttpTask) -> Result<()> {
        if let ServerSession::H1(session) = self.inner_mut() {
            session.send_proxy_task(task);
            return Ok(());
        }
        match task {
            HttpTask::Header(head, _) => self.send_head(head),
            HttpTask::Body(Some(piece), _) => self.frames()?.send_now(piece),
            _ => Ok(()),
        }
    }

    fn keep_alive(&mut self, now: Instant) -> Result<()> {
        self.put_off_keepalive(now);
        let Some(keepalive) = self.relay.keepalive.as_ref() else {
            return Ok(());
        };
        let form = keepalive.form.clone();
        match self.inner_mut() {
            // What still waits to be written there will do as well.
            ServerSession::H1(session) if session.has_pending_proxy_tasks() => Ok(()),
            ServerSession::H1(_) => self.queue(HttpTask::Body(Some(form), false)),
            _ => self.frames()?.try_send(form),
        }
    }

    pub(super) fn put_off_keepalive(&mut self, now: Instant) {
        let every = self
            .relay
            .keepalive
            .as_ref()
            .map(|keepalive| keepalive.every)
            .filter(|_| self.answer.is_stream);
        self.answer.keepalive_at = every.map(|every| now + every);
    }

    pub(super) fn silent(&self) -> Box<Error> {
        self.relay.orders.lock().silent = true;
        let what = "the deployment was silent for too long";
        Error::explain(ErrorType::ReadTimedout, what)
    }
}

/// Finishes what a dropped timer's write left.
async fn resume(session: &mut ServerSession) -> Result<()> {
    if let ServerSession::H1(session) = session
        && session.has_pending_proxy_tasks()
    {
        session.write_proxy_tasks().await?;
    }
    Ok(())
}

/// Waits for the client to leave.
async fn client(
    session: Option<&mut ServerSession>,
    frames: &mut Option<Frames>,
) -> Result<Option<Bytes>> {
    let session = session.expect("the real session is there until the drop");
    resume(session).await?;
    match frames {
        Some(frames) => Err(frames.left().await),
        None => session.read_body_or_idle(true).await,
    }
}

/// Hides the credential in what goes out. What is kept back for its sake goes out before the end.
fn hide(mask: &mut Mask, tasks: &mut Vec<HttpTask>) {
    for task in &mut *tasks {
        if let HttpTask::Body(piece, end) = task {
            let out = mask.pass(piece.as_deref().unwrap_or_default(), *end);
            *piece = Some(Bytes::from(out)).filter(|out| !out.is_empty());
        }
    }
    let is_end = |task: &HttpTask| matches!(task, HttpTask::Done | HttpTask::Trailer(_));
    if let Some(end) = tasks.iter().position(is_end) {
        let rest = Bytes::from(mask.pass(b"", true));
        if !rest.is_empty() {
            tasks.insert(end, HttpTask::Body(Some(rest), false));
        }
    }
}

/// Whether the answer is over with this.
fn ends(task: &HttpTask) -> bool {
    match task {
        HttpTask::Header(head, end) => *end && is_final(head),
        HttpTask::Body(_, end) | HttpTask::UpgradedBody(_, end) => *end,
        HttpTask::Trailer(_) | HttpTask::Done => true,
        HttpTask::Failed(_) => false,
    }
}

fn may_be_written_in(head: &ResponseHeader) -> bool {
    head.status == StatusCode::OK && is_readable_stream(&head.headers)
}

fn not_passed_on() -> Box<Error> {
    let what = "the deployment's answer is not passed on";
    Error::explain(ErrorType::InternalError, what).into_up()
}
