//! The states of deployments, as a running gateway's `/status` says.

use std::{fmt, io};

use serde::Deserialize;
use thiserror::Error;

use crate::domain::{deployment::Deployment, name::ModelName, secret::Secret};

/// What `/status` says of every deployment.
#[derive(Clone, Debug, Deserialize)]
pub struct States {
    models: Vec<Pool>,
}

#[derive(Clone, Debug, Deserialize)]
struct Pool {
    model: String,
    deployments: Vec<DeploymentState>,
}

/// What it says of one.
#[derive(Clone, Debug, Deserialize)]
pub struct DeploymentState {
    instance: String,
    deployment: String,
    state: String,
    /// Whether it may be tried now.
    pub available: bool,
    cause: Option<String>,
    retry_in_seconds: Option<f64>,
}

/// Why a gateway's states can't be had.
#[derive(Debug, Error)]
pub enum StatesError {
    #[error("{0} can't be read: {1}")]
    Unread(String, io::Error),
    #[error("{0} is not the /status of a gateway: {1}")]
    NoStatus(String, String),
}

impl States {
    /// Reads them from a gateway's admin address, as in `http://127.0.0.1:9090/status`, or from a file that holds its answer.
    /// `token`: what `admin.token` asks for.
    pub fn read(from: &str, token: Option<&Secret>) -> Result<Self, StatesError> {
        let read = if from.starts_with("http://") || from.starts_with("https://") {
            fetch(from, token)
        } else {
            std::fs::read(from)
        };
        let text = read.map_err(|error| StatesError::Unread(from.into(), error))?;
        Self::parse(&text).map_err(|error| StatesError::NoStatus(from.into(), error.to_string()))
    }

    /// Reads what `/status` answered.
    pub fn parse(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json)
    }

    pub(super) fn find(
        &self,
        model: &ModelName,
        deployment: &Deployment,
    ) -> Option<&DeploymentState> {
        let pool = self
            .models
            .iter()
            .find(|pool| pool.model == model.as_str())?;
        pool.deployments.iter().find(|state| {
            state.instance == deployment.instance.name.as_str()
                && state.deployment == deployment.name.as_str()
        })
    }
}

fn fetch(url: &str, token: Option<&Secret>) -> io::Result<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let client = reqwest::Client::builder()
            .timeout(std::time::Duration::from_secs(5))
            .build();
        let mut request = client.map_err(io::Error::other)?.get(url);
        if let Some(token) = token {
            request = request.bearer_auth(token.expose());
        }
        let answer = request.send().await;
        if let Ok(answer) = &answer
            && answer.status() == reqwest::StatusCode::UNAUTHORIZED
        {
            let what = "the admin token is required: pass its file with --admin-token-file, or set FOREBAY_ADMIN_TOKEN";
            return Err(io::Error::other(what));
        }
        let served = answer.and_then(reqwest::Response::error_for_status);
        let bytes = served.map_err(io::Error::other)?.bytes().await;
        bytes.map(Vec::from).map_err(io::Error::other)
    })
}

impl fmt::Display for DeploymentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.state)?;
        if let Some(cause) = &self.cause {
            write!(f, ", {cause}")?;
        }
        match self.retry_in_seconds {
            Some(seconds) => write!(f, ", next retry in {seconds:.1} s"),
            None => Ok(()),
        }
    }
}
