//! What is happening in a run, at a glance: pictures and their views, the network with its gradients, and what each
//! width has learned.

mod network;
mod pairs;
mod readout;

use leptos::prelude::*;

use self::{network::Network, pairs::PairsView, readout::Readout};
use super::run_events::{RunEvents, Status};

/// Pictures, network and readings of a run.
#[component]
pub fn Overview(
    /// The run.
    run: RunEvents,
) -> impl IntoView {
    let phase = Memo::new(move |_| run.status().map(|status| phase(&status)));
    view! {
        <section class="overview" aria-label="Overview">
            <p class="phase">{phase}</p>
            <PairsView run/>
            <Network run/>
            <Readout run/>
        </section>
    }
}

/// Says what the run is doing.
fn phase(status: &Status) -> &'static str {
    if status.step == 0 {
        "Nothing is learned yet. To this network, all pictures look alike."
    } else if status.is_slow_start {
        "Slow start: only the full network trains. The narrower widths follow later."
    } else if status.step == status.steps {
        "Done: one training run, and a network of every width."
    } else if status.widths.len() > 1 {
        "All widths train at once, on shared weights. Do their gradients agree?"
    } else {
        "The network trains."
    }
}
