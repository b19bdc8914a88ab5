//! Cards that VPP's framework of device drivers takes: what is made and taken
//! away there takes its time, so a step is asked for again until it has ended.

use std::collections::VecDeque;

use crate::engine::{Done, Takeover, UplinkId};
pub(super) use crate::vpp::uplink::device::deleted;
use crate::vpp::uplink::device::{self, Job, Outcome, Work};
use crate::vpp::uplink::{Vfio, make_room_for_rings};
use crate::vpp::{Barrier, Main};

/// The jobs of all cards: VPP's side does one at a time.
#[derive(Default)]
pub(super) struct Jobs {
    waiting: VecDeque<Waiting>,
    /// Whose job is under way.
    running: Option<UplinkId>,
    /// Outcomes that nobody has asked for yet.
    ended: Vec<(UplinkId, Outcome)>,
}

struct Waiting {
    id: UplinkId,
    pci: String,
    job: Job,
    work: Option<Work>,
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs").field("running", &self.running).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Jobs {
    fn push(&mut self, main: &Main<'_>, id: UplinkId, pci: &str, job: Job, work: Work) {
        self.waiting.push_back(Waiting { id, pci: pci.to_owned(), job, work: Some(work) });
        self.turn(main);
    }

    /// Take note of what has ended, and begin the next one.
    pub(super) fn turn(&mut self, main: &Main<'_>) {
        if let Some(id) = self.running
            && let Some(outcome) = device::outcome(main)
        {
            self.running = None;
            self.ended.push((id, outcome));
        }
        if self.running.is_none()
            && let Some(mut next) = self.waiting.pop_front()
        {
            if device::begin(main, &next.pci, &next.job, &mut next.work) {
                self.running = Some(next.id);
            } else {
                self.waiting.push_front(next);
            }
        }
    }

    /// The outcome of the uplink's oldest job, once it is there.
    fn outcome(&mut self, id: UplinkId) -> Option<Outcome> {
        let at = self.ended.iter().position(|(of, _)| *of == id)?;
        Some(self.ended.remove(at).1)
    }

    /// Nobody is interested in what the uplink's jobs under way come to. How
    /// many will still end.
    fn disown(&mut self, id: UplinkId) -> usize {
        self.waiting.retain(|waiting| waiting.id != id);
        self.ended.retain(|(of, _)| *of != id);
        usize::from(self.running == Some(id))
    }
}

/// What is going on with a card.
#[derive(Debug)]
enum Going {
    /// It is being given to its driver.
    There,
    /// Its driver has it.
    Taken,
    /// It is being taken from its driver, after so many outcomes that do not
    /// matter any more.
    Back { unheard: usize },
}

/// A card that VPP's framework has, or is to have.
#[derive(Debug)]
pub(super) struct Card {
    id: UplinkId,
    pci: String,
    vfio: Vfio,
    going: Going,
}

impl Card {
    /// Begin to give it to its driver.
    pub(super) fn begin(
        barrier: &Barrier<'_>,
        jobs: &mut Jobs,
        id: UplinkId,
        takeover: &Takeover,
        name: &str,
        work: Work,
    ) -> Result<Self, String> {
        let pci = takeover.captured.pci.as_ref().map(|pci| pci.address.clone()).ok_or("it is not on the PCI bus")?;
        make_room_for_rings(barrier)?;
        // The framework maps what it needs by virtual address.
        let vfio = Vfio::hold(barrier, &pci, false)?;
        let link = &takeover.captured.link;
        let job = Job::Attach { name: name.to_owned(), mac: link.mac, mtu: link.mtu, group: vfio.group() };
        jobs.push(barrier, id, &pci, job, work);
        Ok(Self { id, pci, vfio, going: Going::There })
    }

    /// What has become of giving it: the interface's index, once it is there.
    pub(super) fn given(&mut self, jobs: &mut Jobs) -> Option<Outcome> {
        match &self.going {
            Going::There => {}
            Going::Taken => return Some(Err("its driver has it already".to_owned())),
            Going::Back { .. } => return Some(Err("it is on its way back".to_owned())),
        }
        let made = jobs.outcome(self.id)?;
        self.vfio.count();
        match &made {
            Ok(_) => self.going = Going::Taken,
            // Nothing is left of it.
            Err(_) => self.going = Going::Back { unheard: 0 },
        }
        Some(made)
    }

    /// Begin to take it back.
    pub(super) fn take_back(&mut self, main: &Main<'_>, jobs: &mut Jobs, work: Work) {
        let unheard = jobs.disown(self.id);
        self.going = Going::Back { unheard };
        jobs.push(main, self.id, &self.pci, Job::Detach, work);
    }

    /// Whether it is on its way back.
    pub(super) fn is_going_back(&self) -> bool {
        matches!(self.going, Going::Back { .. })
    }

    /// Whether taking it back has ended. After an error it can be begun again.
    pub(super) fn taken_back(&mut self, jobs: &mut Jobs) -> Done {
        let Going::Back { unheard } = &mut self.going else { return Some(Ok(())) };
        while *unheard > 0 {
            drop(jobs.outcome(self.id)?);
            *unheard -= 1;
        }
        let outcome = jobs.outcome(self.id)?.map(drop);
        if outcome.is_err() {
            self.going = Going::Taken;
        }
        Some(outcome)
    }

    /// Whether the kernel wants it: it is being unplugged.
    pub(super) fn is_wanted(&self) -> bool {
        self.vfio.is_wanted()
    }

    /// At VPP's exit no job ends any more.
    pub(super) fn close_at_exit(&self, barrier: &Barrier<'_>) {
        device::close_at_exit(barrier, &self.pci, self.vfio.is_shared());
    }

    /// Nobody in VPP uses it any more.
    pub(super) fn leave(mut self, barrier: &Barrier<'_>) {
        // Its driver may have failed with the card open.
        self.vfio.count();
        self.vfio.leave(barrier);
    }
}
