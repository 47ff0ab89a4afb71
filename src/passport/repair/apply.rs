//! Doing a plan, in an order in which a crash at any step loses nothing:
//!
//! 1. the quarantine directory, durable;
//! 2. `salvaged.ndjson` in it, whole and durable, while every file that it is made from is where it was;
//! 3. a second name in the quarantine (a copy, where the file system has no links) for every segment file that leaves or is
//!    written over. From here on nothing can be lost, whatever happens to the names in `passport/`;
//! 4. files that are made, copied or renamed get their names in `passport/`, each whole and durable before it does. A crash
//!    leaves them beside those that leave, and the next plan takes them: they are whole, and the others do not follow. The
//!    damaged file whose beginning is written again has another name beside them meanwhile, if its own goes to one of them;
//! 5. the files that leave lose their names in `passport/`, and derived files and directories move;
//! 6. `log.id`.
//!
//! Done again after a crash, the same happens in another quarantine directory with what is left to do.

use std::io;
use std::path::{Path, PathBuf};

use super::super::batch::{self, HEADER_BYTES};
use super::super::open::{ID_NAME, write_id};
use super::super::recovery::OpenError;
use super::super::segment::{FIRST_BATCH_OFFSET, SegmentHeader, file_name, raw_name};
use super::super::snapshot::{self, Bounds, SnapshotError};
use super::super::spare;
use super::super::writer::{place_in, random_id};
use super::inspect::{self, MOVED_SUFFIX, Place};
use super::salvage;
use super::{Action, Beginning, Plan, RepairOptions};
use crate::disk::{Disk, DiskFile};
use crate::units::Seq;
use crate::world::World;

/// Records of a rewritten segment that share one batch, in bytes.
const BATCH_BYTES: usize = 1024 * 1024;
pub(super) const SALVAGED_NAME: &str = "salvaged.ndjson";

/// What a repair has done.
#[derive(Clone, Debug)]
pub struct Done {
    /// Where everything that left is.
    pub quarantine: PathBuf,
    /// The file of salvaged events and how many it holds.
    pub salvaged: Option<(PathBuf, u64)>,
}

impl Plan {
    /// Does the plan.
    ///
    /// # Errors
    /// The disk failed. What was done stays; make another plan.
    pub fn apply(&self, world: &World, options: &RepairOptions) -> Result<Done, OpenError> {
        let quarantine = make_quarantine(world, &options.data_dir)?;
        let work = Work { disk: world.disk.as_ref(), world, options, plan: self, quarantine: &quarantine };
        let done = work.run();
        done.map(|salvaged| Done { quarantine: quarantine.clone(), salvaged })
            .map_err(|error| OpenError::io(&options.data_dir, io::Error::other(error)))
    }
}

/// `quarantine/<utc time>`, with a number behind it where there is one of that second.
fn make_quarantine(world: &World, data_dir: &Path) -> Result<PathBuf, OpenError> {
    let disk = world.disk.as_ref();
    let all = data_dir.join("quarantine");
    let failed = |error| OpenError::io(&all, error);
    disk.create_dir_all(&all).map_err(failed)?;
    disk.sync_dir(data_dir).map_err(failed)?;
    let time = world.clock.now().to_rfc3339().replace([':', '.'], "-");
    let taken = disk.list_dirs(&all).map_err(failed)?;
    let mut names = std::iter::once(time.clone()).chain((2..).map(|number| format!("{time}-{number}")));
    let dir = all.join(names.find(|name| !taken.contains(name)).expect("numbers do not end"));
    disk.create_dir_all(&dir).map_err(failed)?;
    disk.sync_dir(&all).map_err(failed)?;
    Ok(dir)
}

struct Work<'a> {
    disk: &'a dyn Disk,
    world: &'a World,
    options: &'a RepairOptions,
    plan: &'a Plan,
    quarantine: &'a Path,
}

impl Work<'_> {
    fn run(&self) -> Result<Option<(PathBuf, u64)>, OpenError> {
        let salvaged = self.salvage()?;
        let io = |error| OpenError::io(&self.options.data_dir, error);
        self.keep_segments().map_err(io)?;
        self.place_files()?;
        self.remove_what_leaves().map_err(io)?;
        if let Some(id) = self.plan.log_id.filter(|_| self.has(|action| matches!(action, Action::WriteLogId))) {
            self.remove_if_there(&self.passport().join(format!("{ID_NAME}.tmp"))).map_err(io)?;
            write_id(self.disk, &self.passport(), id).map_err(io)?;
        }
        Ok(salvaged)
    }

    fn passport(&self) -> PathBuf {
        self.options.data_dir.join("passport")
    }
    fn actions(&self) -> impl Iterator<Item = &Action> {
        self.plan.steps.iter().map(|step| &step.action)
    }
    fn has(&self, is: impl Fn(&Action) -> bool) -> bool {
        self.actions().any(is)
    }

    fn salvage(&self) -> Result<Option<(PathBuf, u64)>, OpenError> {
        let (files, Some(log_id)) = self.plan.salvaged_files() else { return Ok(None) };
        if self.plan.loss.is_none_or(|loss| loss.salvaged == 0) {
            return Ok(None);
        }
        let path = self.quarantine.join(SALVAGED_NAME);
        let written = salvage::write(self.disk, files, log_id, self.plan.kept_to, &path)?;
        self.disk.sync_dir(self.quarantine).map_err(|error| OpenError::io(self.quarantine, error))?;
        Ok(Some((path, written)))
    }

    /// Names in `passport/` that get another content.
    fn written_over(&self) -> impl Iterator<Item = PathBuf> {
        self.actions()
            .filter_map(|action| match action {
                Action::Restore { to, .. } => Some(to.clone()),
                Action::Rewrite(beginning) => Some(raw_name(beginning.first)),
                _ => None,
            })
            .map(|name| Path::new("passport").join(name))
    }

    /// Segment files that leave, by their path under the data directory.
    fn leaving_segments(&self) -> impl Iterator<Item = PathBuf> {
        self.actions().filter_map(|action| match action {
            Action::Quarantine(path) if is_file_of_passport(path) => Some(path.clone()),
            _ => None,
        })
    }

    /// Step 3.
    fn keep_segments(&self) -> io::Result<()> {
        let mut paths: Vec<PathBuf> = self.leaving_segments().chain(self.written_over()).collect();
        paths.sort();
        paths.dedup();
        let kept = self.quarantine.join("passport");
        if paths.is_empty() {
            return Ok(());
        }
        self.disk.create_dir_all(&kept)?;
        for path in paths {
            match link_or_copy(self.disk, &self.options.data_dir.join(&path), &self.quarantine.join(&path)) {
                // Nothing is there to be written over.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                linked => linked?,
            }
        }
        self.disk.sync_dir(&kept)?;
        self.disk.sync_dir(self.quarantine)
    }

    /// Step 4.
    fn place_files(&self) -> Result<(), OpenError> {
        let dir = self.passport();
        let io = |error| OpenError::io(&dir, error);
        let aside = self.set_source_aside().map_err(io)?;
        // First the renames: what is written next may take the name that such a file had.
        self.rename_misplaced().map_err(io)?;
        for action in self.actions() {
            match action {
                Action::Restore { from, to } => copy(self.disk, from, &dir.join(to)).map_err(io)?,
                Action::Rewrite(beginning) => self.rewrite(beginning, aside.as_ref().or(beginning.source.as_ref()))?,
                _ => {}
            }
        }
        aside.map_or(Ok(()), |place| self.remove_if_there(&place.path).map_err(io))
    }

    /// The file whose beginning is written again, under another name where a file that comes before it gets the one that it
    /// has. Its link in the quarantine would do for reading, but no plan after a crash would look there.
    fn set_source_aside(&self) -> io::Result<Option<Place>> {
        let dir = self.passport();
        let beginning = self.actions().find_map(|action| match action {
            Action::Rewrite(beginning) => Some((beginning, beginning.source.as_ref()?)),
            _ => None,
        });
        let Some((beginning, source)) = beginning else { return Ok(None) };
        let is_taken = self.actions().any(|action| match action {
            Action::Restore { to, .. } | Action::Rename { to, .. } => source.path == dir.join(to),
            _ => false,
        });
        if !is_taken {
            return Ok(None);
        }
        let path = dir.join(format!("{:020}.{}{MOVED_SUFFIX}", beginning.first.get(), source.form.extension()));
        self.remove_if_there(&path)?;
        link_or_copy(self.disk, &source.path, &path)?;
        self.disk.sync_dir(&dir)?;
        Ok(Some(Place { path, ..source.clone() }))
    }

    /// Files may trade names, so each gets its new one beside the old ones first.
    fn rename_misplaced(&self) -> io::Result<()> {
        let dir = self.passport();
        let renames: Vec<(&String, &String)> = self
            .actions()
            .filter_map(|action| match action {
                Action::Rename { from, to } => Some((from, to)),
                _ => None,
            })
            .collect();
        if renames.is_empty() {
            return Ok(());
        }
        let moved = |to: &str| dir.join(format!("{to}{MOVED_SUFFIX}"));
        for (from, to) in &renames {
            // A file that was being moved when a crash came has that name already.
            if moved(to) != dir.join(from) {
                self.remove_if_there(&moved(to))?;
                link_or_copy(self.disk, &dir.join(from), &moved(to))?;
            }
        }
        self.disk.sync_dir(&dir)?;
        for (_, to) in &renames {
            self.disk.rename(&moved(to), &dir.join(to))?;
        }
        self.disk.sync_dir(&dir)?;
        for (from, _) in &renames {
            if !renames.iter().any(|(_, to)| to == from) {
                self.remove_if_there(&dir.join(from))?;
            }
        }
        self.disk.sync_dir(&dir)
    }

    /// Step 5.
    fn remove_what_leaves(&self) -> io::Result<()> {
        let data_dir = &self.options.data_dir;
        let written: Vec<PathBuf> = self.written_over().chain(self.renamed_to()).collect();
        for path in self.leaving_segments().filter(|path| !written.contains(path)) {
            self.remove_if_there(&data_dir.join(&path))?;
        }
        self.disk.sync_dir(&self.passport())?;
        for action in self.actions() {
            let Action::Quarantine(path) = action else { continue };
            if is_file_of_passport(path) {
                continue;
            }
            let to = self.quarantine.join(path);
            let parent = to.parent().unwrap_or(self.quarantine);
            self.disk.create_dir_all(parent)?;
            match self.disk.rename(&data_dir.join(path), &to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                moved => moved?,
            }
            self.disk.sync_dir(parent)?;
            self.disk.sync_dir(self.quarantine)?;
            self.disk.sync_dir(data_dir.join(path).parent().unwrap_or(data_dir))?;
        }
        Ok(())
    }

    fn renamed_to(&self) -> impl Iterator<Item = PathBuf> {
        self.actions().filter_map(|action| match action {
            Action::Rename { to, .. } => Some(Path::new("passport").join(to)),
            _ => None,
        })
    }

    fn remove_if_there(&self, path: &Path) -> io::Result<()> {
        match self.disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes the beginning of a segment, out of `source`, as a raw one with an id of its own, so that nothing else can
    /// follow it.
    fn rewrite(&self, beginning: &Beginning, source: Option<&Place>) -> Result<(), OpenError> {
        let (disk, dir) = (self.disk, self.passport());
        let io = |error| OpenError::io(&dir, error);
        let mut records =
            Records { bytes: vec![0; HEADER_BYTES], first: beginning.first, count: 0, batches: Vec::new() };
        if let Some(place) = source {
            inspect::beginning(disk, place, beginning.last, &mut |_, bytes| records.push(bytes))?;
        }
        records.close();
        assert_eq!(records.first, beginning.last.next(), "the good beginning is as long as it was when it was planned");
        let needed = FIRST_BATCH_OFFSET + records.batches.iter().map(|(_, _, bytes)| bytes.len() as u64).sum::<u64>();
        let file_bytes = needed.max(self.options.segment_bytes);
        let header = SegmentHeader {
            log_id: self.plan.log_id.expect("a log whose segments are written again has an id"),
            segment_id: random_id(self.world.random.as_ref()).map_err(io)?,
            first_seq: beginning.first,
            file_bytes,
            previous_segment_id: beginning.previous_segment_id,
            previous_checksum: beginning.previous_checksum,
        };
        let spare = spare::make(disk, &dir, spare::AT_ONCE_NAME, file_bytes, 0).map_err(io)?;
        records.write(spare.file.as_ref(), &header).map_err(io)?;
        place_in(disk, &dir, spare, header).map(drop).map_err(io)
    }
}

/// Whether a path under the data directory names a file of `passport/` itself.
fn is_file_of_passport(path: &Path) -> bool {
    path.parent() == Some(Path::new("passport"))
}

/// Records on their way into batches: first seq, count, and the bytes with room for the header.
struct Records {
    bytes: Vec<u8>,
    first: Seq,
    count: u32,
    batches: Vec<(Seq, u32, Vec<u8>)>,
}

impl Records {
    fn push(&mut self, record: &[u8]) {
        batch::push_record(&mut self.bytes, record);
        self.count += 1;
        if self.bytes.len() >= BATCH_BYTES {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.count > 0 {
            let bytes = std::mem::replace(&mut self.bytes, vec![0; HEADER_BYTES]);
            self.batches.push((self.first, self.count, bytes));
            self.first = self.first.plus(u64::from(self.count));
            self.count = 0;
        }
    }

    fn write(self, file: &dyn DiskFile, header: &SegmentHeader) -> io::Result<()> {
        let (mut offset, mut previous) = (FIRST_BATCH_OFFSET, header.chain_start());
        for (first, count, mut bytes) in self.batches {
            previous = batch::finish(&mut bytes, header.segment_id, offset, first, count, previous);
            file.write_all_at(&bytes, offset)?;
            offset += bytes.len() as u64;
        }
        Ok(())
    }
}

/// Gives a file a second name; a copy has it where the file system has no links, or no more of them for this file.
fn link_or_copy(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    match disk.hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
        // The copy says if it is something else.
        Err(_) => copy(disk, from, to),
    }
}

/// Copies a file, whole and durable before it has its name.
fn copy(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    let temporary = to.with_file_name(format!("{}.tmp", file_name(to)));
    match disk.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    snapshot::copy_file(disk, from, &temporary, Bounds::NONE).map_err(|error| match error {
        SnapshotError::Io { error, .. } => error,
        error => io::Error::other(error),
    })?;
    disk.rename(&temporary, to)?;
    disk.sync_dir(to.parent().unwrap_or(Path::new("")))
}
