//! `hostnet-tap-input`: frames from the host, by our own TAP driver.

use crate::vpp::driver::{InputNode, RxTrace, input_entry, input_format};
use crate::vpp::node::Node;

pub(super) static NODE: Node = Node {
    name: c"hostnet-tap-input",
    // device-input's, of which every input node is a sibling.
    nexts: &[],
    errors: &[c"no buffer free", c"read error"],
    function: Some(input_entry::<TapInput>),
    format_trace: Some(input_format::<TapInput>),
    input: true,
};

struct TapInput;

impl InputNode for TapInput {
    const NO_BUFFER: u16 = 1;
    const READ_ERROR: u16 = 2;

    fn format(trace: &RxTrace) -> String {
        format!("from the host by sw_if_index {}: {} bytes", trace.sw_if_index, trace.length)
    }
}
