//! The command line: one short function a subcommand, exit code out.

use std::{
    fmt::Display,
    io::{self, BufRead, IsTerminal, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use forebay::{
    app,
    config::{self, Plan, Problem},
    demo,
    domain::secret::Secret,
    explain::{self, Question, States},
    http_client, simulator,
    telemetry::{event_log, usage_log},
};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
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
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Validate a config, the files it names and what it needs on this machine; print every error with its line and how to fix it
    ///
    /// Exit code: 0 if there is no error, 1 if there is one (with --strict: or a warning), 2 if the command line is wrong.
    Check {
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
        /// Skip environment variables, files and checks of this machine; for CI pipelines without secrets
        #[arg(long)]
        no_secrets: bool,
        /// Treat warnings as errors
        #[arg(long)]
        strict: bool,
    },
    /// Print the config's JSON Schema, for editors
    Schema {
        /// Print the JSON Schema of the usage records instead, for data warehouses
        #[arg(long)]
        usage_record: bool,
    },
    /// Explain what would happen to a request: whether the client may send it, and which deployments are tried in which order and why
    ///
    /// Exit code: 0 if the request is explained, also if it would be rejected; 1 if it can't be explained: the config has an error,
    /// or the body or the status can't be read; 2 if the command line is wrong.
    Explain {
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
        /// A name in `clients`; `anonymous` if the config has `anonymous: true`
        #[arg(long, value_name = "NAME")]
        client: String,
        /// The request path, like /openai/v1/chat/completions
        #[arg(long)]
        path: String,
        /// A file with the request's JSON body, `-` for stdin; required if the body names the model
        #[arg(long, value_name = "FILE")]
        body: Option<PathBuf>,
        /// The status of a running gateway (http://127.0.0.1:9090/status, or a file with its answer), to include the current state of the deployments
        #[arg(long, value_name = "URL|FILE")]
        status: Option<String>,
        /// A file with the admin token (its hash is `admin.token`); default: the environment variable FOREBAY_ADMIN_TOKEN
        #[arg(long, value_name = "FILE")]
        admin_token_file: Option<PathBuf>,
    },
    /// Run simulated Azure OpenAI instances
    Simulate {
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Run simulator and gateway together with a built-in config: no file, no cloud
    Demo {
        /// Port for clients, on 127.0.0.1
        #[arg(long, default_value_t = 8080)]
        port: u16,
        /// Port for the dashboard, metrics, health and status, on 127.0.0.1
        #[arg(long, default_value_t = 9090)]
        admin_port: u16,
        /// Generate traffic of two clients, one of which exceeds its limits
        #[arg(long)]
        traffic: bool,
    },
    /// Read a client key from stdin and print its hash for the config; on a terminal the key is not shown
    HashKey {
        /// Generate a new key instead; print the key and its hash
        #[arg(long)]
        generate: bool,
    },
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    http_client::install_provider();
    exit_code(run(cli.command))
}

/// What a subcommand ends with: where it failed, what stderr is told.
type Outcome = Result<(), String>;

fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{}", text.trim_end());
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Outcome {
    match command {
        Command::Serve { config } => serve(&config),
        Command::Check {
            config,
            no_secrets: true,
            strict,
        } => checked(&config, strict, config::check_names(&config).map(told)),
        Command::Check { config, strict, .. } => {
            let sound = sound(&config).map(|(_, warnings, machine)| {
                let machine = machine.iter().map(|text| format!("warning: {text}"));
                warnings.into_iter().chain(machine).collect()
            });
            checked(&config, strict, sound)
        }
        Command::Explain {
            config,
            client,
            path,
            body,
            status,
            admin_token_file,
        } => {
            let body = body.as_deref();
            run_explain(&config, client, path, body, status, admin_token_file)
        }
        Command::Schema { usage_record } => {
            let schema = if usage_record {
                usage_log::schema()
            } else {
                config::schema()
            };
            print(&format!("{schema:#}\n"))
        }
        Command::Simulate { config } => simulate(&config),
        Command::Demo {
            port,
            admin_port,
            traffic,
        } => run_demo(port, admin_port, traffic),
        Command::HashKey { generate: false } => hash_key(),
        Command::HashKey { generate: true } => generate_key(),
    }
}

/// Help and version go out whole; a mistake is told in one line.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return exit_code(print(&error.to_string()));
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

/// A plan that a gateway could start with here, and what deserves a look, in it and on this machine; or every mistake.
/// `serve` begins with what `check` says.
fn sound(file: &Path) -> Result<(Plan, Vec<String>, Vec<String>), String> {
    let loaded = config::load(file).map_err(|problems| problems.to_string())?;
    let examined = app::examine(&loaded.plan);
    if !examined.problems.is_empty() {
        return Err(format!("error: {}", examined.problems.join("\nerror: ")));
    }
    Ok((loaded.plan, told(loaded.warnings), examined.warnings))
}

fn told(warnings: Vec<Problem>) -> Vec<String> {
    warnings.iter().map(Problem::warning).collect()
}

fn serve(file: &Path) -> Outcome {
    start_log();
    // Of the machine it says itself what it finds.
    let (plan, warnings, _) = sound(file)?;
    for warning in &warnings {
        tracing::warn!(event = "config_warning", "{warning}");
    }
    match app::serve(plan).map_err(failure)? {}
}

/// Prints what a check has found.
fn checked(file: &Path, strict: bool, found: Result<Vec<String>, impl Display>) -> Outcome {
    let warnings = found.map_err(|problems| problems.to_string())?;
    for warning in &warnings {
        eprintln!("{warning}");
    }
    let file = file.display();
    match (warnings.len(), strict) {
        (0, _) => print(&format!("{file}: no errors\n")),
        (some, false) => print(&format!("{file}: no errors, warnings: {some}\n")),
        (some, true) => Err(format!(
            "{file}: warnings: {some}; --strict treats them as errors"
        )),
    }
}

fn run_explain(
    file: &Path,
    client: String,
    path: String,
    body: Option<&Path>,
    status: Option<String>,
    token_file: Option<PathBuf>,
) -> Outcome {
    let loaded = config::load(file).map_err(|problems| problems.to_string())?;
    let body = body.map(read_body).transpose();
    let body = body.map_err(|error| format!("error: the body can't be read: {error}"))?;
    let token = token(token_file);
    let token = token.map_err(|error| format!("error: the admin token can't be read: {error}"))?;
    let states = status.map(|from| States::read(&from, token.as_ref()));
    let states = states.transpose().map_err(failure)?;
    let question = Question { client, path, body };
    let text = explain::explain(&loaded.plan, &question, states.as_ref()).map_err(failure)?;
    print(&text)
}

fn read_body(from: &Path) -> io::Result<Vec<u8>> {
    if from != Path::new("-") {
        return std::fs::read(from);
    }
    let mut body = Vec::new();
    io::stdin().lock().read_to_end(&mut body).map(|_| body)
}

/// What the gateway's admin listener asks for.
fn token(file: Option<PathBuf>) -> io::Result<Option<Secret>> {
    let text = match file {
        Some(file) => Some(std::fs::read_to_string(file)?),
        None => std::env::var("FOREBAY_ADMIN_TOKEN").ok(),
    };
    Ok(text.map(|text| Secret::new(text.trim_end().to_owned())))
}

fn simulate(file: &Path) -> Outcome {
    start_log();
    simulator::simulate(file).map_err(failure)
}

fn run_demo(port: u16, admin_port: u16, traffic: bool) -> Outcome {
    start_log();
    match demo::run(port, admin_port, traffic).map_err(failure)? {}
}

fn hash_key() -> Outcome {
    let key = if io::stdin().is_terminal() {
        typed_key()
    } else {
        let mut key = String::new();
        let read = io::stdin().lock().take(64 << 10).read_to_string(&mut key);
        read.map(|_| key)
    };
    let key = key.map_err(|error| format!("error: the key can't be read: {error}"))?;
    let hashed = config::hash_key(&key).map_err(failure)?;
    if let Some(warning) = hashed.warning {
        eprintln!("warning: {warning}");
    }
    print(&format!("{}\n", hashed.hash))
}

/// A key that is typed in, and not shown meanwhile.
fn typed_key() -> io::Result<String> {
    let terminal = io::stdin();
    let shown = tcgetattr(&terminal)?;
    let mut hidden = shown.clone();
    hidden.local_modes -= LocalModes::ECHO;
    // First of all, and the prompt last: what is typed before that is shown as little as may be, and thrown away.
    tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
    if let Err(error) = show_again_once_interrupted(shown.clone()) {
        tcsetattr(&terminal, OptionalActions::Now, &shown)?;
        return Err(error);
    }
    eprint!("key (it is not shown): ");
    let mut key = String::new();
    let read = terminal.lock().take(64 << 10).read_line(&mut key);
    tcsetattr(&terminal, OptionalActions::Now, &shown)?;
    eprintln!();
    read.map(|_| key)
}

/// An interrupt leaves no terminal behind that shows nothing.
fn show_again_once_interrupted(shown: Termios) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new().spawn(move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &shown);
            eprintln!();
            std::process::exit(130);
        }
    })?;
    Ok(())
}

/// The key and its hash on lines of their own, which a script can tell apart.
fn generate_key() -> Outcome {
    let made = config::generate_key().map_err(failure)?;
    eprintln!(
        "give the key to the client and save it now, it is not stored anywhere; put the hash into the config"
    );
    let key = made.key.expose();
    print(&format!("key   {key}\nhash  {}\n", made.hash))
}

/// To stdout; a reader that went away is no failure of ours.
fn print(text: &str) -> Outcome {
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn failure(error: impl Display) -> String {
    format!("error: {error}")
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
