//! A VPP that checks what it is told.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[derive(Default)]
pub(super) struct Vpp {
    pub(super) routes: BTreeMap<(u32, Prefix), (PathsId, Paths)>,
    pub(super) sets: BTreeMap<PathsId, Arc<Paths>>,
    ever: BTreeMap<PathsId, Arc<Paths>>,
    round: BTreeSet<(u32, Prefix)>,
    pub(super) ops: usize,
}

impl Vpp {
    /// Carry out a batch; `refuses` says which of its routes are refused.
    pub(super) fn apply(&mut self, batch: &Batch, mut refuses: impl FnMut(usize) -> Option<Refusal>) -> BatchDone {
        let mut done = BatchDone { uplink: batch.uplink, number: batch.number, ..BatchDone::default() };
        for (id, paths) in &batch.paths {
            assert_ne!(*id, PathsId::NONE);
            let before = self.ever.insert(*id, Arc::clone(paths));
            assert!(before.is_none_or(|before| before == *paths), "{id:?} was another set");
            assert!(self.sets.insert(*id, Arc::clone(paths)).is_none(), "{id:?} was told twice");
        }
        for (place, op) in batch.routes.iter().enumerate() {
            let key = (op.table, op.prefix);
            if batch.check {
                self.round.insert(key);
                let is = self.routes.get(&key).map(|(_, paths)| paths);
                if is != Some(&*self.sets[&op.paths]) {
                    done.differing.push((place, format!("is {is:?}")));
                }
                continue;
            }
            self.ops += 1;
            if let Some(refusal) = refuses(place) {
                done.refused.push((place, refusal));
            } else if op.paths == PathsId::NONE {
                self.routes.remove(&key);
            } else {
                let paths = (*self.sets[&op.paths]).clone();
                self.routes.insert(key, (op.paths, paths));
            }
        }
        for id in &batch.forget {
            assert!(self.sets.remove(id).is_some(), "{id:?} is not known");
            assert!(self.routes.values().all(|(has, _)| has != id), "{id:?} is in use");
        }
        if !batch.totals.is_empty() {
            let round = std::mem::take(&mut self.round);
            for (table, six, count) in &batch.totals {
                let has = self.routes.keys().filter(|(t, p)| t == table && p.is_ipv4() != *six);
                if has.clone().count() as u64 != *count {
                    done.surplus.extend(has.filter(|key| !round.contains(key)).copied());
                }
            }
        }
        done
    }
}
