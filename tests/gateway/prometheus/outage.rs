//! A simulated outage, as Prometheus tells of it: nothing before, the right alerts during, silence after.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    real_run::{self, TOKEN},
    server::Prometheus,
};
use crate::harness::{KEY, eventually_async};

#[tokio::test]
async fn an_outage_fires_its_alerts_and_its_end_ends_them() {
    let (mut harness, _papers) = real_run::harness().await;
    let prometheus = Prometheus::start(harness.gateway.admin, TOKEN).await;
    for _ in 0..20 {
        assert_eq!(real_run::ask(&harness, KEY, "gpt-4o", false).await, 200);
    }
    prometheus.scrapes().await;
    // All is well, so only what has no traffic to judge may speak.
    for name in [
        "ForebayIdentityTokenEnding",
        "ForebayCertificateEnding",
        "ForebayDeploymentOut",
        "ForebayModelUnavailable",
        "ForebayErrorBudgetBurnsFast",
        "ForebayDown",
    ] {
        assert!(prometheus.alerts(name).await.is_empty(), "{name}");
    }

    // While clients go on asking: a pause that ends is followed by a trial that fails.
    for name in ["ptu", "one", "two"] {
        harness.switch(name, "down").await;
    }
    let over = AtomicBool::new(false);
    let clients = async {
        while !over.load(Ordering::Acquire) {
            let status = real_run::ask(&harness, KEY, "gpt-4o", false).await;
            assert_eq!(status, 503);
        }
    };
    let operator = async {
        let alert = prometheus.fires("ForebayModelUnavailable").await;
        let gateway = harness.gateway.admin.to_string();
        assert_eq!(
            (&alert["labels"]["model"], &alert["labels"]["gateway"]),
            (&"gpt-4o".into(), &gateway.as_str().into())
        );
        let says = alert["annotations"]["summary"].as_str().unwrap();
        assert_eq!(says, "No deployment of gpt-4o is available");
        prometheus.fires("ForebayErrorBudgetBurnsFast").await;
        over.store(true, Ordering::Release);
    };
    tokio::join!(clients, operator);

    for name in ["ptu", "one", "two"] {
        harness.switch(name, "up").await;
    }
    eventually_async("it is over", async || {
        real_run::ask(&harness, KEY, "gpt-4o", false).await == 200
            && prometheus
                .alerts("ForebayModelUnavailable")
                .await
                .is_empty()
    })
    .await;

    harness.gateway.end();
    let alert = prometheus.fires("ForebayDown").await;
    assert_eq!(alert["labels"]["severity"], "critical");
}
