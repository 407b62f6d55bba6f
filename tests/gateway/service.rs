//! The service as its unit runs it: a user of its own that exists for no file, and certificates that are renewed beside it.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    certificate_authority::{CertificateAuthority, TlsConnection},
    harness::{Process, eventually_async, folder, free_address},
};

/// A user and a group that own nothing on this machine.
const USER: &str = "61184";
const GROUP: u32 = 61_999;
const UNIT: &str = include_str!("../../systemd/forebay.service");

/// What certbot and its hook work with.
struct Installation {
    folder: PathBuf,
    /// The group that may read the certificate.
    group: u32,
    address: SocketAddr,
}

impl Drop for Installation {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0)
}

impl Installation {
    fn new() -> Self {
        let (folder, address) = (folder(), free_address());
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.join("lineage")).unwrap();
        let group = if is_root() {
            GROUP
        } else {
            fs::metadata(&folder).unwrap().gid()
        };
        let config = format!(
            "listeners: [{{ address: \"{address}\", tls: {{ certificate: tls/fullchain.pem, key: tls/privkey.pem }} }}]\n\
             identities: {{ key: {{ api_key: x }} }}\n\
             instances: {{ only: {{ endpoint: \"http://127.0.0.1:1\", identity: key }} }}\n\
             models: {{ gpt-4o: {{ deployments: [{{ instance: only }}] }} }}\n\
             anonymous: true\n"
        );
        fs::write(folder.join("forebay.yaml"), config).unwrap();
        // Where the tests are built another user may not look.
        let (built, own) = (env!("CARGO_BIN_EXE_forebay"), folder.join("forebay"));
        if fs::hard_link(built, &own).is_err() {
            fs::copy(built, &own).unwrap();
        }
        Self {
            folder,
            group,
            address,
        }
    }

    /// Writes what certbot would, and runs its hook.
    fn renew(&self, authority: &CertificateAuthority) {
        let lineage = self.folder.join("lineage");
        authority.certify(&lineage, "new", "localhost");
        for (made, name) in [("new.crt", "fullchain.pem"), ("new.key", "privkey.pem")] {
            fs::rename(lineage.join(made), lineage.join(name)).unwrap();
        }
        let only_owner = fs::Permissions::from_mode(0o600);
        fs::set_permissions(lineage.join("privkey.pem"), only_owner).unwrap();
        let hook = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/certbot-deploy-hook");
        let ran = Command::new(hook)
            .env("RENEWED_LINEAGE", &lineage)
            .env("FOREBAY_TLS", self.folder.join("tls"))
            .env("FOREBAY_TLS_GROUP", self.group.to_string())
            .status()
            .unwrap();
        assert!(ran.success());
    }

    /// The gateway's command, as a user who is in these groups.
    fn forebay(&self, groups: &[u32], command: &str) -> Command {
        let mut forebay = if is_root() {
            let groups: Vec<_> = groups.iter().map(ToString::to_string).collect();
            let groups = if groups.is_empty() {
                "--clear-groups".to_owned()
            } else {
                format!("--groups={}", groups.join(","))
            };
            let mut setpriv = Command::new("setpriv");
            setpriv.args(["--reuid", USER, "--regid", USER, &groups]);
            setpriv.arg(self.folder.join("forebay"));
            setpriv
        } else {
            Command::new(self.folder.join("forebay"))
        };
        forebay.args([command, "--config"]);
        forebay.arg(self.folder.join("forebay.yaml"));
        forebay
    }

    async fn shown(&self) -> Option<Vec<u8>> {
        let config = crate::certificate_authority::client_config(
            &self.folder,
            None,
            &[&rustls::version::TLS13],
        );
        tokio::net::TcpStream::connect(self.address).await.ok()?;
        Some(
            TlsConnection::open_with(self.address, config)
                .await
                .ok()?
                .shown(),
        )
    }
}

#[tokio::test]
async fn a_renewed_certificate_reaches_a_service_whose_user_owns_no_file() {
    let installation = Installation::new();
    let authority = CertificateAuthority::new(&installation.folder, "ours");
    installation.renew(&authority);
    let modes = |name: &str| {
        let file = fs::metadata(installation.folder.join(name)).unwrap();
        (file.mode() & 0o777, file.gid())
    };
    assert_eq!(modes("tls"), (0o750, installation.group));
    for file in ["tls/fullchain.pem", "tls/privkey.pem"] {
        assert_eq!(modes(file), (0o640, installation.group), "{file}");
    }
    let left = fs::read_dir(installation.folder.join("tls"))
        .unwrap()
        .count();
    assert_eq!(left, 2, "nothing is left behind");
    if is_root() {
        // Without the unit's line the key is not readable, and the config says so.
        let checked = installation.forebay(&[], "check").output().unwrap();
        assert!(!checked.status.success());
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(said.contains("Permission denied"), "{said}");
    }
    let mut forebay = installation.forebay(&[installation.group], "serve");
    let errors = fs::File::create(installation.folder.join("stderr")).unwrap();
    forebay.stderr(errors).stdout(Stdio::null());
    let _running = Process::start(&mut forebay).unwrap();
    eventually_async("it serves", async || installation.shown().await.is_some()).await;
    let first = installation.shown().await.unwrap();
    installation.renew(&authority);
    eventually_async("the renewed certificate is shown", async || {
        installation
            .shown()
            .await
            .is_some_and(|shown| shown != first)
    })
    .await;
}

#[test]
fn the_unit_is_one_that_systemd_understands_and_calls_safe() {
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        // Not every machine that runs the tests has systemd.
        return;
    };
    assert!(version.status.success());
    let folder = folder();
    let unit = UNIT
        .replace("/usr/bin/forebay", env!("CARGO_BIN_EXE_forebay"))
        .replace("#SupplementaryGroups=", "SupplementaryGroups=");
    assert!(unit.contains("\nSupplementaryGroups=forebay-tls\n"));
    let file = folder.join("forebay.service");
    fs::write(&file, unit).unwrap();
    for arguments in [
        &["verify", "--man=no"][..],
        &["security", "--offline=true", "--threshold=20"],
    ] {
        let said = Command::new("systemd-analyze")
            .args(arguments)
            .arg(&file)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.success(), "{arguments:?}: {text}");
        assert!(!text.contains("forebay.service:"), "{text}");
    }
    fs::remove_dir_all(&folder).unwrap();
}
