//! Power cuts for real: a file system is shut down under the daemon, so that what it had not synced is gone.

use super::harness::binary::Launch;
use super::harness::http::Client;
use super::harness::load::{Acknowledged, assert_verified, assert_whole, load_until, senders};
use super::mounts::{Kind, Mount};
use super::{SMALL, rounds, tools};

fn cut_again_and_again(test: &str, kind: Kind, bytes: u64) {
    if !tools::has(test, "xfs_io", &["-V"]) {
        return;
    }
    let Some(mount) = Mount::new(test, kind, bytes) else { return };
    let data_dir = mount.dir().join("data");
    let launch = Launch::on(&data_dir).notes_in(mount.beside()).config(SMALL);
    let (senders, acknowledged) = (senders(), Acknowledged::default());
    for round in 0..rounds(3) {
        let mut binary = launch.start();
        assert_whole(&binary.client, &acknowledged);
        let client = binary.client.clone();
        let ended = load_until(&client, &senders, &acknowledged, 500 + 300 * round as usize, || {
            mount.cut_power().expect("the power goes");
            // The next sync fails, and that ends it; or the next segment cannot be made first, and then nothing is
            // acknowledged any more, so that there is nothing to sync.
            super::harness::until("the daemon ends by itself or takes no writes", || {
                binary.ended().map(Some).or_else(|| takes_no_writes(&client).then_some(None))
            })
        });
        match ended {
            Some(status) => assert_eq!(status.code(), Some(1), "{status}"),
            None => binary.kill(),
        }
        mount.unmount().expect("nobody works on it");
        mount.mount().expect("the file system recovers");
    }
    let binary = launch.start();
    assert_whole(&binary.client, &acknowledged);
    assert!(binary.terminate().success());
    assert_verified(&data_dir);
}

fn takes_no_writes(client: &Client) -> bool {
    client.try_request("GET", "/readyz", &[], b"").is_ok_and(|answer| answer.status == 503)
}

#[test]
fn after_a_power_cut_on_ext4_every_acknowledged_event_is_there_once() {
    cut_again_and_again("power cut on ext4", Kind::Ext4, 128 << 20);
}

#[test]
fn after_a_power_cut_on_xfs_every_acknowledged_event_is_there_once() {
    cut_again_and_again("power cut on xfs", Kind::Xfs, 320 << 20);
}
