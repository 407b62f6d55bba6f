//! The command line: one short function a subcommand, exit code out.

use std::{
    io::{self, IsTerminal, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use forebay::{
    app, config, demo,
    explain::{self, Question, States},
    simulator,
    telemetry::{event_log, usage_log},
};
use tracing::{Level, Metadata};
use tracing_subscriber::{EnvFilter, filter::filter_fn, fmt, prelude::*};

/// Memory that large bodies took goes back to the system, which the C library's allocator keeps.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A gateway in front of many Azure OpenAI deployments.
#[derive(Parser)]
#[command(version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway
    Serve {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Validate a config and what it names; print every mistake with its place and its mend
    Check {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print the config's JSON Schema, for editors
    Schema {
        /// Print that of the usage records instead, for warehouses
        #[arg(long)]
        usage_record: bool,
    },
    /// Say what would become of a request: who asks, whether it may, which deployments are tried in which order, and why
    Explain {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// A name of `clients`; `anonymous` where the config has none
        #[arg(long, value_name = "NAME")]
        client: String,
        /// What the client asks for, as in /openai/v1/chat/completions
        #[arg(long)]
        path: String,
        /// The request's JSON body; needed where the body names the model
        #[arg(long, value_name = "FILE")]
        body: Option<PathBuf>,
        /// A running gateway's status (http://127.0.0.1:9090/status, or a file that holds its answer), to count in how the deployments fare
        #[arg(long, value_name = "URL|FILE")]
        status: Option<String>,
    },
    /// Run simulated Azure OpenAI instances
    Simulate {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Run simulator and gateway together on an embedded config: no file, no cloud
    Demo {
        /// Where clients connect, on 127.0.0.1
        #[arg(long, default_value_t = 8080)]
        port: u16,
        /// Where metrics, health and status are, on 127.0.0.1
        #[arg(long, default_value_t = 9090)]
        admin_port: u16,
    },
    /// Read a client key on stdin, print its hash for the config
    HashKey {
        /// Make a new key instead; print it, and its hash
        #[arg(long)]
        generate: bool,
    },
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    // Two TLS providers could be compiled in; the process uses this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match cli.command {
        Command::Serve { config } => serve(&config),
        Command::Check { config } => check(&config),
        Command::Explain {
            config,
            client,
            path,
            body,
            status,
        } => run_explain(&config, client, path, body.as_deref(), status.as_deref()),
        Command::Schema { usage_record } => {
            let schema = match usage_record {
                true => usage_log::schema(),
                false => config::schema(),
            };
            print(&format!("{schema:#}\n"))
        }
        Command::Simulate { config } => simulate(&config),
        Command::Demo { port, admin_port } => run_demo(port, admin_port),
        Command::HashKey { generate: false } => hash_key(),
        Command::HashKey { generate: true } => generate_key(),
    }
}

/// Help and version go out whole; a mistake is told in one line.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return print(&error.to_string());
    }
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        eprintln!("error: a command is missing; `forebay --help` lists them");
        return ExitCode::from(2);
    }
    let text = error.to_string();
    let said = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:"));
    let line: Vec<&str> = said
        .filter(|line| !line.is_empty() && !line.starts_with("For more"))
        .collect();
    eprintln!("{}; see `forebay --help`", line.join(" "));
    ExitCode::from(2)
}

fn serve(file: &Path) -> ExitCode {
    start_log();
    let loaded = match config::load(file) {
        Ok(loaded) => loaded,
        Err(problems) => return fail(&problems.to_string()),
    };
    for warning in &loaded.warnings {
        tracing::warn!(event = "config_warning", "{warning}");
    }
    match app::serve(loaded.plan) {
        Ok(never) => match never {},
        Err(error) => fail(&format!("error: {error}")),
    }
}

fn check(file: &Path) -> ExitCode {
    match config::load(file) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("{warning}");
            }
            print(&format!("{}: no mistakes found\n", file.display()))
        }
        Err(problems) => fail(&problems.to_string()),
    }
}

fn run_explain(
    file: &Path,
    client: String,
    path: String,
    body: Option<&Path>,
    status: Option<&str>,
) -> ExitCode {
    let loaded = match config::load(file) {
        Ok(loaded) => loaded,
        Err(problems) => return fail(&problems.to_string()),
    };
    let body = match body.map(std::fs::read).transpose() {
        Ok(body) => body,
        Err(error) => return fail(&format!("error: the body can't be read: {error}")),
    };
    let states = match status.map(States::read).transpose() {
        Ok(states) => states,
        Err(error) => return fail(&format!("error: {error}")),
    };
    let question = Question { client, path, body };
    match explain::explain(&loaded.plan, &question, states.as_ref()) {
        Ok(text) => print(&text),
        Err(error) => fail(&format!("error: {error}")),
    }
}

fn simulate(file: &Path) -> ExitCode {
    start_log();
    match simulator::simulate(file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("error: {error}")),
    }
}

fn run_demo(port: u16, admin_port: u16) -> ExitCode {
    start_log();
    match demo::run(port, admin_port) {
        Ok(never) => match never {},
        Err(error) => fail(&format!("error: {error}")),
    }
}

fn hash_key() -> ExitCode {
    let mut key = String::new();
    if let Err(error) = io::stdin().lock().take(64 << 10).read_to_string(&mut key) {
        return fail(&format!("error: the key can't be read: {error}"));
    }
    match config::hash_key(&key) {
        Ok(hashed) => {
            if let Some(warning) = hashed.warning {
                eprintln!("warning: {warning}");
            }
            print(&format!("{}\n", hashed.hash))
        }
        Err(error) => fail(&format!("error: {error}")),
    }
}

/// The key and its hash on lines of their own, which a script can tell apart.
fn generate_key() -> ExitCode {
    match config::generate_key() {
        Ok(made) => {
            eprintln!(
                "the key is for the client and stored nowhere, so keep it now; the hash is for the config"
            );
            let key = made.key.expose();
            print(&format!("key   {key}\nhash  {}\n", made.hash))
        }
        Err(error) => fail(&format!("error: {error}")),
    }
}

/// To stdout; a reader that went away is no failure of ours.
fn print(text: &str) -> ExitCode {
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn fail(text: &str) -> ExitCode {
    eprintln!("{}", text.trim_end());
    ExitCode::FAILURE
}

/// To stderr: text on a terminal, JSON elsewhere. `FOREBAY_LOG` chooses levels, as in `warn,forebay=debug`.
fn start_log() {
    let filter = EnvFilter::try_from_env("FOREBAY_LOG");
    // What Pingora says of single connections, the access log says of requests; its connectors call it an error where two
    // merely reach for one pooled connection.
    let filter = filter.unwrap_or_else(|_| {
        EnvFilter::new("info,azure_identity=warn,azure_core=warn,typespec_client_core=warn,pingora_core=warn,pingora_core::connectors=off,pingora_proxy=warn,pingora_load_balancing=error")
    });
    let log = tracing_subscriber::registry()
        .with(filter)
        .with(filter_fn(is_safe));
    let lines = fmt::layer().with_writer(io::stderr);
    if io::stderr().is_terminal() {
        log.with(lines.compact().with_target(false)).init();
    } else {
        log.with(lines.event_format(event_log::Json)).init();
    }
}

/// Below `info`, libraries write whole request heads, credentials included: whatever `FOREBAY_LOG` says, that stays unsaid.
fn is_safe(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO || metadata.target().starts_with("forebay")
}
