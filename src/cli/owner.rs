//! Whose data directory it is. What another user makes in it, root mostly, belongs to that one, and a daemon that runs as
//! the owner cannot write it: the next start fails.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::output::{note, printable};

/// Says on stderr that the directory belongs to another user than that of this process, and what to do about it.
pub fn warn_others(dir: &Path) {
    let Ok(owner) = std::fs::metadata(dir) else { return };
    let user = rustix::process::geteuid().as_raw();
    if let Some(warning) = warning(dir, (owner.uid(), owner.gid()), user) {
        note(&warning);
    }
}

fn warning(dir: &Path, (uid, gid): (u32, u32), user: u32) -> Option<String> {
    (uid != user).then(|| {
        let dir = printable(&dir.display().to_string()).to_string();
        format!(
            "warning: {dir} belongs to user {uid}, and this runs as user {user}: a daemon of user {uid} cannot write what it \
             makes there. Run it as that user (sudo -u '#{uid}' coliseum ...), or give the files back before the next \
             start: chown -R {uid}:{gid} {dir}/"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_user_than_the_owner_is_told_how_to_run_it_or_to_give_the_files_back() {
        let dir = Path::new("/var/lib/coliseum");
        assert_eq!(warning(dir, (61_184, 61_184), 61_184), None);
        let warning = warning(dir, (61_184, 61_185), 0).expect("root is another user");
        assert!(warning.contains("sudo -u '#61184' coliseum"), "{warning}");
        assert!(warning.ends_with("chown -R 61184:61185 /var/lib/coliseum/"), "{warning}");
    }
}
