//! Azure's own spillover: what a deployment can't serve, another one of the same instance does (AZURE 8).

use std::sync::Arc;

use http::{HeaderName, StatusCode};

use super::{
    super::{
        config::SpilloverHeaders,
        deployment::Deployment,
        deviation::Deviation,
        headers,
        refusal::{Called, Refusal},
        route::Address,
    },
    Handler, Work,
    inject_fault::{End, Injected},
};

const ASKED_FOR: HeaderName = HeaderName::from_static("x-ms-spillover-deployment");
const FROM: HeaderName = HeaderName::from_static("x-ms-spillover-from-deployment");
const ERROR: HeaderName = HeaderName::from_static("x-ms-spillover-error");

impl Handler {
    /// What comes of a deployment's own no: another one's answer, or, in the older form where that failed too, the no itself
    /// with a word on the other's.
    pub(super) async fn spill(
        &mut self,
        address: Option<&Address>,
        from: &Deployment,
        body: &[u8],
        mut own: Refusal,
    ) -> Result<(Work, Deviation), Refusal> {
        let Some(to) = self.spillover(from).filter(|_| spills(&own)) else {
            return Err(own);
        };
        let before = self.headers.clone();
        headers::remove_limit_headers(&mut self.headers);
        let served = self.ask_instead(address, &to, body).await;
        let is_old = self.instance.spillover_headers == SpilloverHeaders::Before202606;
        if let (Err(no), true) = (&served, is_old) {
            self.headers = before;
            let reason = format!("{}: {} answered {}", own.status, to.name, no.status);
            own.headers.push((ERROR, headers::text(&reason)));
            return Err(own);
        }
        self.trace.spill(&to);
        self.name(&to);
        self.headers.insert(FROM, headers::text(&from.name));
        if !is_old {
            self.headers.insert(ERROR, own.status.as_u16().into());
        }
        served
    }

    /// The deployment's own setting goes before the caller's wish.
    fn spillover(&self, from: &Deployment) -> Option<Arc<Deployment>> {
        let wish = self.request.get(ASKED_FOR);
        let wish = wish.and_then(|name| name.to_str().ok());
        let name = from.spillover.as_deref().or(wish)?;
        let to = self.instance.deployment(name)?;
        (from.is_provisioned && to.name != from.name).then(|| to.clone())
    }

    async fn ask_instead(
        &mut self,
        address: Option<&Address>,
        to: &Arc<Deployment>,
        body: &[u8],
    ) -> Result<(Work, Deviation), Refusal> {
        let deviation = match self.instance.own_fault(to) {
            None => Deviation::default(),
            Some(fault) => match self
                .inject(fault, &Called::new(address, &to.name), body)
                .await
            {
                Injected::Deviating(deviation) => deviation,
                Injected::Ended(End::Refused(refusal)) => return Err(refusal),
                Injected::Ended(End::Broken(_)) => {
                    return Err(Refusal::of_status(StatusCode::SERVICE_UNAVAILABLE));
                }
            },
        };
        Ok((self.work(address, Ok(to.clone()), body)?, deviation))
    }
}

fn spills(own: &Refusal) -> bool {
    own.is_too_long || matches!(own.status.as_u16(), 429 | 500 | 503)
}
