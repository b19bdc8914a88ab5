//! Comparing what VPP has with what it is thought to have.

use super::rows::Slot;
use super::{RouteMirror, Sent, UNKNOWN};
use crate::engine::mirror::{Batch, BatchDone, PathsId, RouteOp};

/// How far a round of checks is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckCursor {
    family: usize,
    at: usize,
}

impl RouteMirror {
    /// Make the batch a check of the next routes, at most `max`. `false`: the
    /// round ends with this batch, which has the totals; a round begins with a
    /// new cursor. Other batches may go between those of a round. A round that
    /// found differences is best followed by another: totals do not tell one
    /// too many from one too few.
    pub fn fill_check(&mut self, batch: &mut Batch, cursor: &mut CheckCursor, max: usize) -> bool {
        batch.uplink = self.uplink;
        batch.check = true;
        let first = batch.routes.len();
        while cursor.family < 2 && batch.routes.len() < max {
            if cursor.at >= self.rows.places(cursor.family) {
                *cursor = CheckCursor { family: cursor.family + 1, at: 0 };
                continue;
            }
            let slot = Slot::new(cursor.family, cursor.at);
            cursor.at += 1;
            let paths = self.rows.get(slot).actual;
            if paths != PathsId::NONE
                && paths != UNKNOWN
                && let Some((table, prefix)) = self.rows.prefix(slot)
            {
                batch.routes.push(RouteOp { table: self.tables[table as usize].number, prefix, paths });
            }
        }
        let more = cursor.family < 2;
        if !more {
            for table in &self.tables {
                batch.totals.push((table.number, false, table.in_vpp[0]));
                batch.totals.push((table.number, true, table.in_vpp[1]));
            }
        }
        let expected = Some(batch.routes[first..].to_vec());
        self.counts.checked += (batch.routes.len() - first) as u64;
        self.sent.push_back(Sent { number: batch.number, first, before: Vec::new(), expected });
        more
    }

    pub(super) fn checked(&mut self, sent: &Sent, done: &BatchDone) {
        let Some(expected) = &sent.expected else { return };
        for (place, words) in &done.differing {
            let Some(op) = place.checked_sub(sent.first).and_then(|at| expected.get(at)) else { continue };
            let place = self.table_places.get(&op.table);
            let Some(slot) = place.and_then(|table| self.rows.find(*table, &op.prefix)) else { continue };
            let row = self.rows.get(slot);
            // Sent or taken back since: the check has seen another time.
            if row.actual != op.paths || row.flying() {
                continue;
            }
            self.set_actual(slot, UNKNOWN);
            self.paths.remove(op.paths);
            self.counts.differences.add(format!("table {} {}: {words}", op.table, op.prefix));
            self.touch(slot);
        }
        for (table, prefix) in &done.surplus {
            let place = self.table(*table);
            let slot = self.rows.find_or_insert(place, prefix);
            let row = self.rows.get(slot);
            if row.actual != PathsId::NONE || row.flying() {
                continue;
            }
            self.set_actual(slot, UNKNOWN);
            self.counts.differences.add(format!("table {table} {prefix}: in VPP, not in the kernel"));
            self.touch(slot);
        }
    }
}
