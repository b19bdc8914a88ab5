//! Sets of paths and their names.

use std::collections::HashMap;
use std::mem::size_of;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::engine::mirror::{Paths, PathsId};

/// VPP has something, but not known what.
pub(super) const UNKNOWN: PathsId = PathsId(u32::MAX);

/// One set.
#[derive(Debug)]
struct Set {
    paths: Arc<Paths>,
    /// Routes that VPP has with it, or may have.
    routes: u32,
    /// Sets of attributes that lead to it.
    attrs: u32,
    /// VPP has been told what it is.
    told: bool,
}

/// All sets that somebody names. A name is never given again to another set.
#[derive(Debug, Default)]
pub(super) struct PathSets {
    sets: HashMap<PathsId, Set, RandomState>,
    ids: HashMap<Arc<Paths>, PathsId, RandomState>,
    last: u32,
    /// Those to look at when the next batch is filled.
    idle: Vec<PathsId>,
}

fn is_set(id: PathsId) -> bool {
    id != PathsId::NONE && id != UNKNOWN
}

impl PathSets {
    /// The set's name. One that nobody takes up is forgotten by and by.
    pub(super) fn intern(&mut self, paths: Paths) -> PathsId {
        if let Some(id) = self.ids.get(&paths) {
            return *id;
        }
        self.last += 1;
        let id = PathsId(self.last);
        let paths = Arc::new(paths);
        self.ids.insert(Arc::clone(&paths), id);
        self.sets.insert(id, Set { paths, routes: 0, attrs: 0, told: false });
        self.idle.push(id);
        id
    }

    pub(super) fn get(&self, id: PathsId) -> Option<&Paths> {
        self.sets.get(&id).map(|set| &*set.paths)
    }

    /// Attributes lead to it.
    pub(super) fn hold(&mut self, id: PathsId) {
        if let Some(set) = self.sets.get_mut(&id) {
            set.attrs += 1;
        }
    }

    /// Attributes lead to it no longer.
    pub(super) fn drop_hold(&mut self, id: PathsId) {
        if let Some(set) = self.sets.get_mut(&id) {
            set.attrs -= 1;
            if set.attrs == 0 && set.routes == 0 {
                self.idle.push(id);
            }
        }
    }

    /// A route is to have it. What to tell VPP about it first, if anything.
    pub(super) fn add(&mut self, id: PathsId) -> Option<Arc<Paths>> {
        let set = self.sets.get_mut(&id)?;
        set.routes += 1;
        let tell = !set.told;
        set.told = true;
        tell.then(|| Arc::clone(&set.paths))
    }

    /// A route has it no longer.
    pub(super) fn remove(&mut self, id: PathsId) {
        if !is_set(id) {
            return;
        }
        if let Some(set) = self.sets.get_mut(&id) {
            set.routes -= 1;
            if set.routes == 0 {
                self.idle.push(id);
            }
        }
    }

    /// Whether [`Self::forget`] would have something to say.
    pub(super) fn has_idle(&self) -> bool {
        self.idle.iter().any(|id| self.sets.get(id).is_some_and(|set| set.routes == 0 && set.told))
    }

    /// Those that VPP may forget.
    pub(super) fn forget(&mut self, forget: &mut Vec<PathsId>) {
        for id in std::mem::take(&mut self.idle) {
            let Some(set) = self.sets.get_mut(&id) else { continue };
            if set.routes > 0 {
                continue;
            }
            if std::mem::replace(&mut set.told, false) {
                forget.push(id);
            }
            if set.attrs == 0
                && let Some(set) = self.sets.remove(&id)
            {
                self.ids.remove(&set.paths);
            }
        }
    }

    /// Sets that are kept.
    pub(super) fn len(&self) -> usize {
        self.sets.len()
    }

    /// About what it takes of memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let each = size_of::<(PathsId, Set)>() + size_of::<(Arc<Paths>, PathsId)>() + 2;
        let spilled: usize = self
            .sets
            .values()
            .map(|set| match &*set.paths {
                Paths::Forward(paths) if paths.spilled() => paths.capacity() * size_of_val(&paths[0]),
                _ => 0,
            })
            .sum();
        self.sets.capacity() * each + self.sets.len() * (size_of::<Paths>() + 16) + spilled
    }
}
