//! A real sshd with the files of `examples/ssh-box/`, on a port of its own, and a real ssh. As root
//! it has a user of its own that can be emptied of processes; otherwise it is the user of the
//! tests that logs in.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::bitcoind::free_port;
use super::guarded::with_sbin;
use super::wait::until;

/// Whoever logs in.
pub struct User {
    /// Their name.
    pub name: String,
    /// Made for the test, as root, and removed on drop.
    pub own: bool,
}

impl User {
    /// A new one, as root; otherwise the one that runs the tests.
    pub fn new() -> Self {
        let me = said(Command::new("id").arg("-un"));
        if me != "root" {
            return Self { name: me, own: false };
        }
        // Tests of one process run beside each other.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lease{}-{count}", std::process::id());
        let mut add = Command::new("useradd");
        add.args(["--no-create-home", "--password", "*", "--shell", "/bin/sh", &name]);
        said(&mut add);
        Self { name, own: true }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if self.own {
            let _ = Command::new("pkill").args(["-KILL", "-u", &self.name]).status();
            let _ = Command::new("userdel").arg(&self.name).stderr(Stdio::null()).status();
        }
    }
}

/// What a command that must succeed says.
fn said(command: &mut Command) -> String {
    let output = command.env("PATH", with_sbin()).stdin(Stdio::null()).output();
    let output = output.expect("the command is there");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{told}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A running sshd, ended on drop.
pub struct Sshd {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A key pair in `folder`; the public key.
pub fn new_key(folder: &Path, name: &str) -> String {
    let file = folder.join(name);
    let mut make = Command::new("ssh-keygen");
    said(make.args(["-q", "-t", "ed25519", "-N", "", "-C", "me@home", "-f"]).arg(&file));
    let public = fs::read_to_string(file.with_extension("pub")).expect("it was made");
    public.trim().to_owned()
}

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ssh-box").join(name);
    fs::read_to_string(path).expect("the example is there")
}

fn change(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "the example does not have {old}");
    text.replace(old, new)
}

/// Writes the command that sshd asks, as an operator would after changing its first lines.
pub fn write_command(folder: &Path, server: &str) {
    let mut text = example("leasehold-keys");
    let of = |name: &str| folder.join(name).display().to_string();
    for (old, new) in [
        ("https://lease.example.org", server.to_owned()),
        ("/etc/leasehold/ssh.key", of("ssh.key")),
        ("/var/cache/leasehold-keys", of("cache")),
        ("/usr/local/bin/leasehold", env!("CARGO_BIN_EXE_leasehold").to_owned()),
    ] {
        text = change(&text, old, &new);
    }
    fs::create_dir_all(folder.join("cache")).expect("the folder is ours");
    fs::write(folder.join("leasehold-keys"), text).expect("the folder is ours");
}

/// Writes the API key that the command asks with.
pub fn write_api_key(folder: &Path, key: &str) {
    let file = folder.join("ssh.key");
    fs::write(&file, key).expect("the folder is ours");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
}

/// Starts it for `user`, who holds the unit of that name of `resource`.
pub fn start(folder: &Path, user: &User, resource: &str) -> Sshd {
    let me = said(Command::new("id").arg("-un"));
    if me == "root" {
        fs::create_dir_all("/run/sshd").expect("root may");
    }
    new_key(folder, "host");
    let port = free_port();
    let command = folder.join("leasehold-keys");
    let mut own = example("sshd-leasehold.conf");
    // sshd refuses a command in a folder that others can write to, such as /tmp: the shell is in none.
    let called = format!("/bin/sh {} {resource} %u %f", command.display());
    for (old, new) in [
        ("/usr/local/lib/leasehold/leasehold-keys gpu-small %u %f", called.as_str()),
        ("AuthorizedKeysCommandUser leasehold-keys", &format!("AuthorizedKeysCommandUser {me}")),
        ("Match User gpu-*", &format!("Match User {}", user.name)),
    ] {
        own = change(&own, old, new);
    }
    let text = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {}\nPidFile none\nUsePAM no\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel DEBUG1\n{own}",
        folder.join("host").display()
    );
    let file = folder.join("sshd.conf");
    fs::write(&file, text).expect("the folder is ours");
    let log = fs::File::create(folder.join("sshd.log")).expect("the folder is ours");
    let mut command = Command::new("/usr/sbin/sshd");
    command.args(["-D", "-e", "-f"]).arg(&file).stdin(Stdio::null()).stderr(log);
    let child = command.spawn().expect("regtest/test installs it");
    let sshd = Sshd { child, port, folder: folder.to_owned() };
    until("sshd to listen", || TcpStream::connect(("127.0.0.1", port)).map_err(|_| sshd.log()));
    sshd
}

impl Sshd {
    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("sshd.log")).unwrap_or_default()
    }

    /// ssh as `user` with a key, to run a command there.
    pub fn ssh(&self, user: &User, key: &str, command: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"])
            .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-p", &self.port.to_string(), "-i"])
            .arg(self.folder.join(key))
            .arg(format!("{}@127.0.0.1", user.name))
            .arg(command)
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null());
        ssh
    }

    /// Whether a login with a key gets in.
    pub fn lets_in(&self, user: &User, key: &str) -> bool {
        let output: Output = self.ssh(user, key, "echo inside").output().expect("ssh is there");
        let (told, why) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let inside = output.status.success() && told.trim() == "inside";
        assert!(inside || why.contains("Permission denied"), "{told}{why}\n{}", self.log());
        inside
    }
}

/// Writes the provisioner's hook, as an operator would after changing its first lines.
pub fn write_hook(folder: &Path) -> PathBuf {
    let cache = folder.join("cache").display().to_string();
    let text = change(&example("hook"), "/var/cache/leasehold-keys", &cache);
    let file = folder.join("hook");
    fs::write(&file, text).expect("the folder is ours");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it is ours");
    file
}

/// The hook, to be called as Leasehold calls it.
pub fn hook(file: &Path, user: &User, action: &str) -> Command {
    let mut command = Command::new(file);
    command
        .env_clear()
        .env("PATH", with_sbin())
        .env("LEASEHOLD_ACTION", action)
        .env("LEASEHOLD_UNIT", &user.name)
        .stdin(Stdio::null());
    command
}
