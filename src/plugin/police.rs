//! The policer's commands: what is configured goes to the nodes, what they have
//! counted comes from them.

use super::Plugin;
use crate::cli;
use crate::dataplane::Vpp;
use crate::model::police::{Change, CountersView, NodeCount, PoliceView, UplinkCounters};
use crate::nodes;
use crate::vpp::{Main, node};

impl Plugin {
    /// Police as startup.conf says, or as changed since, and with this change.
    pub(super) fn police(&mut self, main: &Main<'_>, change: Option<&Change>) {
        let configured = &self.manager.startup().police;
        let config = self.police.get_or_insert_with(|| configured.clone());
        if let Some(change) = change {
            config.change(change);
        }
        nodes::set_police(&main.barrier(), config.clone());
    }

    /// `show hostnet police`
    pub(super) fn show_police(&self, main: &Main<'_>, json: bool) -> String {
        let config = self.police.as_ref().unwrap_or(&self.manager.startup().police);
        let (threads, counts) = nodes::counts(&main.barrier());
        cli::render_police(&PoliceView::new(config, threads, &counts), json)
    }

    /// `show hostnet counters`
    pub(super) fn show_counters(&mut self, main: &Main<'_>, only: Option<u32>, json: bool) -> Result<String, String> {
        let (_, counts) = nodes::counts(&main.barrier());
        let state = Vpp { main, state: &mut self.state };
        let view = self.manager.view(&state, &self.helper, only);
        let counted = |tap: Option<u32>| counts.iter().find(|(counted, _)| Some(*counted) == tap);
        let uplinks: Vec<UplinkCounters> = view
            .uplinks
            .iter()
            .filter_map(|uplink| {
                let (_, counts) = counted(uplink.tap_sw_if_index)?;
                Some(UplinkCounters::new(&uplink.interface, &uplink.host_if, counts))
            })
            .collect();
        if let Some(index) = only.filter(|_| uplinks.is_empty()) {
            return Err(format!(
                "the interface with sw_if_index {index} has no counters of its own: it is not enabled, or it is a \
                 VLAN, whose packets are counted with those of the device below it"
            ));
        }
        let nodes = node::errors(main, c"hostnet").into_iter();
        let nodes = nodes.map(|(node, reason, packets)| NodeCount { node, reason, packets }).collect();
        Ok(cli::render_counters(&CountersView { uplinks, nodes }, json))
    }
}
