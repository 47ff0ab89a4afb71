//! Which files follow each other from seq 1 on, and where that ends: the log that a repair leaves.
//!
//! At each place the first of these that is there goes on the chain: a whole file; a whole file of the snapshot, if it can
//! be shown to be the segment that the log had there; the good beginning of a damaged file, which ends
//! the chain. A file counts by what its header or trailer says, not by its name.

use super::super::open::ID_NAME;
use super::super::recovery::{Link, OpenError};
use super::inspect::{Form, Found, MOVED_SUFFIX, Place, Stop, Survey};
use super::{Action, Beginning, Loss, Plan, RepairOptions, Step, inspect};
use crate::disk::Disk;
use crate::units::Seq;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Where the chain has come to.
struct End {
    next: Seq,
    segment_id: u64,
    checksum: u32,
}

/// What the chain is made of.
struct Chain<'a> {
    files: Vec<&'a Found>,
    end: End,
    /// How the log goes on behind `files`; `None` where the last of them is raw and active.
    beginning: Option<(Beginning, String)>,
}

pub(super) fn plan(survey: &Survey, options: &RepairOptions) -> Result<Plan, OpenError> {
    let mut plan = Plan {
        steps: Vec::new(),
        notes: Vec::new(),
        kept_to: Seq::ZERO,
        loss: None,
        log_id: log_id(survey, options)?,
        salvage: Vec::new(),
    };
    let Some(log_id) = plan.log_id else {
        nothing_is_readable(survey, options, &mut plan);
        return Ok(plan);
    };
    let chain = follow(survey, log_id, &mut plan);
    plan.kept_to = Seq::new(chain.end.next.get() - 1);
    id_step(survey, log_id, &mut plan);
    file_steps(&chain, &mut plan);
    let leaving = leaving(survey, &chain, log_id, &mut plan);
    if let Some((beginning, why)) = &chain.beginning {
        plan.steps.push(rewrite_step(beginning, why));
    }
    let last = leaving.iter().filter_map(|found| last_known(found, log_id)).max().unwrap_or(Seq::ZERO);
    if last > plan.kept_to {
        plan.loss = Some(Loss { first: plan.kept_to.next(), last, salvaged: 0 });
        plan.salvage = leaving.iter().map(|found| found.place.clone()).collect();
    }
    if plan.shortens() {
        for name in &options.derived_dirs {
            plan.quarantine(
                Path::new(name),
                "it may hold events that leave the log; the next start builds it again".into(),
            );
        }
    }
    Ok(plan)
}

/// No file says which log this was: all of them leave, and the next start makes a new log.
fn nothing_is_readable(survey: &Survey, options: &RepairOptions, plan: &mut Plan) {
    for found in survey.found.iter().filter(|found| !found.place.is_snapshot) {
        let what = found.stop.as_ref().map_or("it is no segment", |stop| &stop.what);
        plan.quarantine(&Path::new("passport").join(&found.name), what.to_owned());
    }
    if survey.stored_id.is_err() {
        plan.quarantine(&Path::new("passport").join(ID_NAME), "it does not hold a log's id".into());
    }
    if !plan.is_empty() {
        for name in &options.derived_dirs {
            plan.quarantine(Path::new(name), "nothing is left of the log that it was made from".into());
        }
    }
}

/// The id of the log that is meant; `None` for a directory that never held one.
fn log_id(survey: &Survey, options: &RepairOptions) -> Result<Option<[u8; 16]>, OpenError> {
    let ids = |found: &mut dyn Iterator<Item = &Found>| -> Vec<[u8; 16]> {
        let mut ids: Vec<_> = found.filter_map(|found| found.link.map(|link| link.log_id)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    let stored = survey.stored_id.as_ref().ok().copied().flatten();
    let here = || survey.found.iter().filter(|found| !found.place.is_snapshot);
    let all = ids(&mut here());
    match (stored, all.as_slice()) {
        (Some(stored), []) => Ok(Some(stored)),
        (Some(stored), all) if all.contains(&stored) => Ok(Some(stored)),
        (_, [one]) => Ok(Some(*one)),
        (None, []) => Ok(ids(&mut survey.found.iter()).first().copied()),
        _ => {
            let firsts = ids(&mut here().filter(|found| found.link.is_some_and(|link| link.first_seq.get() == 1)));
            match firsts.as_slice() {
                [one] => Ok(Some(*one)),
                _ => Err(OpenError::damaged_file(
                    options.data_dir.join("passport").display().to_string(),
                    "the segments belong to several logs and `log.id` to none of them: put the files of one log only there",
                )),
            }
        }
    }
}

fn follow<'a>(survey: &'a Survey, log_id: [u8; 16], plan: &mut Plan) -> Chain<'a> {
    let mut chain =
        Chain { files: Vec::new(), end: End { next: Seq::new(1), segment_id: 0, checksum: 0 }, beginning: None };
    let joints = Joints::of(survey);
    loop {
        let here = || survey.found.iter().filter_map(|found| Some((found, chain.end.link_of(found, log_id)?)));
        let Some((found, link)) = best(survey, &joints, &mut here()) else {
            chain.beginning = missing(&chain);
            return chain;
        };
        let stop = found.stop.as_ref().filter(|stop| !(stop.may_be_torn && is_last(survey, found, log_id)));
        if let Some(stop) = stop {
            chain.beginning = Some(cut(&chain.end, found, stop));
            chain.end.next = found.good_last.next();
            return chain;
        }
        if let Some(torn) = &found.stop {
            plan.notes.push(format!(
                "{}: a torn tail at offset {}: {}; it was never acknowledged, and the next start cuts it off and keeps it",
                found.name, torn.offset, torn.what
            ));
        }
        chain.files.push(found);
        let is_empty = found.good_last < link.first_seq;
        if is_empty || found.stop.is_some() {
            chain.end.next = found.good_last.next();
            return chain;
        }
        chain.end = End { next: found.good_last.next(), segment_id: link.segment_id, checksum: link.last_checksum };
    }
}

impl End {
    /// The link of a file that follows.
    fn link_of(&self, found: &Found, log_id: [u8; 16]) -> Option<Link> {
        let link = found.link.filter(|link| link.log_id == log_id && link.first_seq == self.next)?;
        let is_first = self.next.get() == 1;
        let follows = link.previous_segment_id == self.segment_id && link.previous_checksum == self.checksum;
        (is_first || follows).then_some(link)
    }
}

/// Of the files that follow, the one to go on with.
fn best<'a>(
    survey: &Survey,
    joints: &Joints,
    files: &mut dyn Iterator<Item = (&'a Found, Link)>,
) -> Option<(&'a Found, Link)> {
    let files: Vec<_> = files.collect();
    let here: Vec<(&Found, Link)> = files.iter().copied().filter(|(found, _)| !found.place.is_snapshot).collect();
    let is_same =
        |found: &Found, link: &Link| !found.place.is_snapshot || is_of_this_history(survey, joints, &here, link);
    files.into_iter().filter(|(found, link)| is_same(found, link)).max_by_key(|(found, link)| {
        let is_whole = found.is_whole() && (!found.place.is_snapshot || found.good_last >= link.first_seq);
        let is_in_place = found.name == found.own_name();
        let is_sealed = found.place.form == Form::Sealed;
        // A whole file of the snapshot may be of the time before the segment was full.
        (is_whole && !found.place.is_snapshot, found.good_last, is_whole, is_in_place, is_sealed)
    })
}

/// Whether a segment of the snapshot is the one that the log has at its place, and not of a copy that went on by itself: a
/// file `here` says so by all that its trailer says, or one behind it does by what it follows. Where neither is there the
/// log has nothing that could say otherwise.
fn is_of_this_history(survey: &Survey, joints: &Joints, here: &[(&Found, Link)], link: &Link) -> bool {
    let is_sealed = |found: &Found| found.place.form == Form::Sealed;
    if here.iter().any(|(found, own)| is_sealed(found) && own == link) || joints.is_followed(link) {
        return true;
    }
    let in_log = survey.found.iter().filter(|found| !found.place.is_snapshot);
    here.is_empty() && !in_log.filter_map(|found| last_known(found, link.log_id)).any(|last| last >= link.first_seq)
}

/// What a segment says of the one before it: log, first seq of its own, id and checksum of the other.
type Joint = ([u8; 16], Seq, u64, u32);

fn joint_before(link: &Link) -> Joint {
    (link.log_id, link.first_seq, link.previous_segment_id, link.previous_checksum)
}

/// What a segment that follows says of this one. An empty segment is followed by nothing.
fn joint_behind(link: &Link) -> Option<Joint> {
    let is_empty = link.last_seq < link.first_seq;
    (!is_empty).then_some((link.log_id, link.last_seq.next(), link.segment_id, link.last_checksum))
}

/// The joints from which it goes on to a file of the log, by way of files of the snapshot if need be.
struct Joints(HashSet<Joint>);

impl Joints {
    fn of(survey: &Survey) -> Joints {
        let links = |is_snapshot: bool| {
            let found = survey.found.iter().filter(move |found| found.place.is_snapshot == is_snapshot);
            found.filter_map(|found| found.link)
        };
        let mut joints: HashSet<Joint> = links(false).map(|link| joint_before(&link)).collect();
        let mut backwards: Vec<Link> = links(true).collect();
        // Whatever follows a segment starts behind it, so each is looked at when all that follow it have been.
        backwards.sort_by_key(|link| std::cmp::Reverse(link.first_seq));
        for link in backwards {
            if joint_behind(&link).is_some_and(|joint| joints.contains(&joint)) {
                joints.insert(joint_before(&link));
            }
        }
        Joints(joints)
    }

    /// Whether a file of the log follows the segment.
    fn is_followed(&self, link: &Link) -> bool {
        joint_behind(link).is_some_and(|joint| self.0.contains(&joint))
    }
}

/// Whether nothing of the log comes behind the file.
fn is_last(survey: &Survey, found: &Found, log_id: [u8; 16]) -> bool {
    let here = survey.found.iter().filter(|other| !other.place.is_snapshot);
    !here.filter_map(|other| last_known(other, log_id)).any(|last| last > found.good_last)
}

/// The last seq that a file of the log held, as far as it says.
fn last_known(found: &Found, log_id: [u8; 16]) -> Option<Seq> {
    match found.link {
        Some(link) if link.log_id == log_id => {
            let stop =
                found.stop.as_ref().map_or(Seq::ZERO, |stop| if stop.may_be_torn { Seq::ZERO } else { stop.seq });
            Some(link.last_seq.max(found.good_last).max(stop))
        }
        Some(_) => None,
        None => Some(named_seq(found)),
    }
}

fn named_seq(found: &Found) -> Seq {
    let digits: String = found.name.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().map_or(Seq::ZERO, Seq::new)
}

/// The log goes on with the good beginning of a damaged file.
fn cut(end: &End, found: &Found, stop: &Stop) -> (Beginning, String) {
    let beginning = Beginning {
        source: (found.good_last >= end.next).then(|| found.place.clone()),
        first: end.next,
        last: found.good_last,
        previous_segment_id: end.segment_id,
        previous_checksum: end.checksum,
    };
    (beginning, format!("{} is damaged at offset {}: {}", found.name, stop.offset, stop.what))
}

/// The log goes on with an empty segment where no file follows, unless the last one is active.
fn missing(chain: &Chain<'_>) -> Option<(Beginning, String)> {
    let next = chain.end.next;
    let why = match chain.files.last() {
        Some(found) if found.place.form == Form::Raw => return None,
        Some(found) => format!("no whole file follows {}, which ends at seq {}", found.name, next.get() - 1),
        None => "no whole file holds seq 1".to_owned(),
    };
    let (previous_segment_id, previous_checksum) = (chain.end.segment_id, chain.end.checksum);
    let last = Seq::new(next.get() - 1);
    Some((Beginning { source: None, first: next, last, previous_segment_id, previous_checksum }, why))
}

fn id_step(survey: &Survey, log_id: [u8; 16], plan: &mut Plan) {
    let why = match &survey.stored_id {
        Ok(Some(stored)) if *stored == log_id => return,
        Ok(Some(_)) => "it has the id of another log than the segments",
        Ok(None) => "it is missing",
        Err(_) => "it does not hold a log's id",
    };
    let file = format!("passport/{ID_NAME}");
    if !matches!(survey.stored_id, Ok(None)) {
        plan.steps.push(Step::quarantine(Path::new(&file), why.into(), None, None));
    }
    let what = format!("write {file} from the segments, which agree");
    plan.steps.push(Step { what, why: why.into(), file, offset: None, seq: None, action: Action::WriteLogId });
}

/// Files of the chain that come from the snapshot or have another file's name.
fn file_steps(chain: &Chain<'_>, plan: &mut Plan) {
    for found in &chain.files {
        let to = found.own_name();
        let (what, why, action) = if found.place.is_snapshot {
            let from = found.place.path.clone();
            (
                format!("copy {} from the snapshot to passport/{to}", from.display()),
                format!("passport/ has no whole file of seq {} to {}", first_of(found), found.good_last),
                Action::Restore { from, to: to.clone() },
            )
        } else if found.name != to {
            (
                format!("rename passport/{} to {to}", found.name),
                "its content is that of another segment".to_owned(),
                Action::Rename { from: found.name.clone(), to: to.clone() },
            )
        } else {
            continue;
        };
        plan.steps.push(Step {
            what,
            why,
            file: format!("passport/{to}"),
            offset: None,
            seq: Some(first_of(found)),
            action,
        });
    }
}

fn first_of(found: &Found) -> Seq {
    found.link.map_or(Seq::ZERO, |link| link.first_seq)
}

/// Steps for the files that leave; gives those of this log.
fn leaving<'a>(survey: &'a Survey, chain: &Chain<'_>, log_id: [u8; 16], plan: &mut Plan) -> Vec<&'a Found> {
    let mut of_this_log = Vec::new();
    for found in survey.found.iter().filter(|found| !found.place.is_snapshot) {
        if chain.files.iter().any(|kept| kept.place == found.place) || is_surplus_form(found, chain) {
            continue;
        }
        let path = PathBuf::from("passport").join(&found.name);
        let source = chain.beginning.as_ref().and_then(|(beginning, _)| beginning.source.as_ref());
        let why = match (&found.link, &found.stop) {
            (Some(link), _) if link.log_id != log_id => "it belongs to another log".to_owned(),
            (_, Some(stop)) if source == Some(&found.place) => {
                format!("damaged: {}; its good beginning is written again", stop.what)
            }
            (_, Some(stop)) => format!("damaged: {}", stop.what),
            (Some(link), None) if link.first_seq < chain.end.next => "what it holds is there already".to_owned(),
            (Some(_), None) => format!("it does not follow the log, which ends at seq {}", chain.end.next.get() - 1),
            (None, None) => "it is no segment".to_owned(),
        };
        let offset = found.stop.as_ref().map(|stop| stop.offset);
        let seq = found.stop.as_ref().map(|stop| stop.seq).filter(|seq| *seq > Seq::ZERO);
        plan.steps.push(Step::quarantine(&path, why, offset, seq.or(Some(named_seq(found)))));
        if found.link.is_none_or(|link| link.log_id == log_id) {
            of_this_log.push(found);
        }
    }
    of_this_log
}

/// A raw file whose sealed form is whole and on the chain: the next start removes it.
fn is_surplus_form(found: &Found, chain: &Chain<'_>) -> bool {
    let is_sealed_beside = |kept: &&Found| {
        kept.place.form == Form::Sealed
            && !kept.place.is_snapshot
            && kept.name == kept.own_name()
            && kept.name.strip_suffix('z') == Some(&found.name)
            && found.link.is_some_and(|link| kept.link.is_some_and(|other| other.segment_id == link.segment_id))
    };
    found.place.form == Form::Raw && !found.name.ends_with(MOVED_SUFFIX) && chain.files.iter().any(is_sealed_beside)
}

fn rewrite_step(beginning: &Beginning, why: &str) -> Step {
    let Beginning { first, last, .. } = beginning;
    let file = format!("passport/{:020}.seg", first.get());
    let what = if last < first {
        format!("make {file}, an empty active segment")
    } else {
        format!("write seq {first} to {last} as {file}, the new active segment: the log ends at seq {last}")
    };
    let action = Action::Rewrite(beginning.clone());
    Step { what, why: why.to_owned(), file, offset: None, seq: Some(last.next()), action }
}

impl Plan {
    /// Counts what of the loss can be read.
    pub(super) fn count_loss(&mut self, disk: &dyn Disk) -> Result<(), OpenError> {
        let (Some(mut loss), Some(log_id)) = (self.loss, self.log_id) else { return Ok(()) };
        let mut seen = HashSet::new();
        for place in &self.salvage {
            inspect::every_record(disk, place, log_id, &mut |seq, _| {
                if seq >= loss.first && seen.insert(seq) {
                    loss.last = loss.last.max(seq);
                }
            })?;
        }
        loss.salvaged = seen.len() as u64;
        self.loss = Some(loss);
        Ok(())
    }

    /// The files whose records are salvaged, and the log that they are of.
    pub(super) fn salvaged_files(&self) -> (&[Place], Option<[u8; 16]>) {
        (&self.salvage, self.log_id)
    }
}
