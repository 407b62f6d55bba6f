//! A test that runs a second time inside namespaces of its own: there it may have addresses, ports and system files.

use std::{env, process::Command};

/// Set where a test runs inside the namespaces that [`run_inside`] made.
const INSIDE: &str = "FOREBAY_INSIDE_A_NAMESPACE";

/// A command that Debian may keep where not everybody's PATH looks.
fn command(name: &str) -> Command {
    let path = env::var("PATH").unwrap_or_default();
    let mut command = Command::new(name);
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

/// The same, run to its good end.
pub(crate) fn run(name: &str, arguments: &str) {
    let ran = command(name).args(arguments.split(' ')).status();
    let ran = ran.unwrap_or_else(|error| panic!("this test needs `{name}`: {error}"));
    assert!(ran.success(), "{name} {arguments}");
}

/// Runs an ignored test of this binary inside new namespaces of these kinds (`--net`, …), and asserts that it passed.
pub(crate) fn run_inside(kinds: &[&str], test: &str) {
    let run = command("unshare")
        .arg("--map-root-user")
        .args(kinds)
        .arg("--")
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(INSIDE, "1")
        .output();
    let run = run.expect("this test needs `unshare` (Debian: util-linux)");
    let said = [run.stdout, run.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    assert!(
        run.status.success() && said[0].contains("1 passed"),
        "THIS TEST NEEDS NAMESPACES OF ITS OWN (unshare --map-root-user {}), and either none were permitted here or \
         the test failed inside:\n{}\n{}",
        kinds.join(" "),
        said[0],
        said[1]
    );
}

/// To be asserted first by what runs inside.
pub(crate) fn assert_inside() {
    assert!(
        env::var_os(INSIDE).is_some(),
        "the test beside this one runs it"
    );
}
