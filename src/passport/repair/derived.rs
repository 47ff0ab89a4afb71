//! What is derived from the log and of no use: it leaves, and the next start or the next question makes it again.

use std::path::PathBuf;

use super::super::entry_index::segment_id;
use super::super::index::{IndexError, SegmentIndex};
use super::super::recovery::OpenError;
use super::super::sealed::SealedSegment;
use super::super::segment::seq_in_name;
use super::super::{ReadError, keys};
use super::inspect::{Form, Survey};
use super::{Action, Plan, RepairOptions, Step};
use crate::disk::Disk;
use crate::units::Seq;

/// Adds steps for entry indexes and key runs that are damaged, foreign, or of what leaves.
pub(super) fn add_steps(
    disk: &dyn Disk,
    options: &RepairOptions,
    survey: &Survey,
    plan: &mut Plan,
) -> Result<(), OpenError> {
    let Some(log_id) = plan.log_id else { return Ok(()) };
    let dir = options.data_dir.join("passport");
    let quarantine = |name: String, why: String, seq: Option<Seq>| {
        Step::quarantine(&PathBuf::from("passport").join(name), why, None, seq)
    };
    for entry in disk.list(&dir).map_err(|error| OpenError::io(&dir, error))? {
        let Some(first) = seq_in_name(&entry.name, "idx") else { continue };
        if let Some(why) = index_is_bad(disk, options, survey, plan, first)? {
            plan.steps.push(quarantine(entry.name, why, Some(first)));
        }
    }
    let bad = keys::survey(disk, &dir.join("keys"), log_id, plan.kept_to);
    for (name, why) in bad.map_err(|error| OpenError::io(&dir, std::io::Error::other(error.to_string())))? {
        plan.steps.push(quarantine(format!("keys/{name}"), why, None));
    }
    Ok(())
}

/// Why the index of the segment that starts at `first` is of no use.
fn index_is_bad(
    disk: &dyn Disk,
    options: &RepairOptions,
    survey: &Survey,
    plan: &Plan,
    first: Seq,
) -> Result<Option<String>, OpenError> {
    let dir = options.data_dir.join("passport");
    let leaves = |name: &str| {
        let path = PathBuf::from("passport").join(name);
        plan.steps.iter().any(|step| matches!(&step.action, Action::Quarantine(left) if *left == path))
    };
    let mut kept = survey.found.iter().filter(|found| {
        let is_its = found.link.is_some_and(|link| link.first_seq == first);
        is_its
            && found.place.form == Form::Sealed
            && found.is_whole()
            && (found.place.is_snapshot || !leaves(&found.name))
    });
    let Some(segment) = kept.next() else { return Ok(Some("there is no sealed segment that it is of".into())) };
    let sealed = match SealedSegment::open(disk, segment.place.path.clone()) {
        Ok(sealed) => sealed,
        Err(ReadError::Damaged { .. }) => return Ok(Some("its segment is damaged".into())),
        Err(error) => return Err(error.into()),
    };
    match SegmentIndex::open(disk, &dir, &segment_id(&sealed)).and_then(|index| index.verify()) {
        Ok(()) | Err(IndexError::Missing { .. }) => Ok(None),
        Err(error @ IndexError::Io { .. }) => Err(OpenError::io(&dir, std::io::Error::other(error.to_string()))),
        Err(error) => Ok(Some(error.to_string())),
    }
}
