//! The lesson: five steps, each with some sentences, a question to answer by trying, and what to try it with.

mod dial;
mod interference;
mod matrix;
mod probe;
mod sharing;
mod slimmable;
mod techniques;

use leptos::{ev::KeyboardEvent, prelude::*};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;
use web_sys::{Element, HtmlElement};

use crate::{
    address::{self, Address},
    fetch,
    lab::{Lab, Options, Setup},
};

/// The steps in order.
static STEPS: [Step; 5] = [slimmable::STEP, sharing::STEP, interference::STEP, techniques::STEP, probe::STEP];
/// The option in the address that says which step is shown, from 1.
const OPTION: &str = "step";
/// What has other uses for the arrow keys.
const CONTROLS: &str = "input, select, textarea, button, summary, [role=slider]";

/// A step of the lesson.
struct Step {
    title: &'static str,
    /// Where in the bundle its text is, a question to be answered by trying, and what should have been seen.
    text: &'static str,
    /// What to try it with.
    control: fn() -> AnyView,
    /// A training to watch.
    live: Option<Live>,
}

/// A training beside a step.
struct Live {
    /// What to watch.
    watch: &'static str,
    setup: fn() -> Setup,
}

/// The room: one step at a time.
#[component]
pub fn Room() -> impl IntoView {
    let address: Address = expect_context();
    let step = Memo::new(move |_| address.options(address::Room::Lesson).with(step_of));
    let go = move |to: usize| {
        if to < STEPS.len() && to != step.get_untracked() {
            address.set_options(address::Room::Lesson, options_of(to));
            request_animation_frame(move || read_on(to));
        }
    };
    let turn = move |event: KeyboardEvent| {
        let elsewhere = event.target().and_then(|target| target.dyn_into::<Element>().ok()?.closest(CONTROLS).ok()?);
        if elsewhere.is_some() || event.alt_key() || event.ctrl_key() || event.meta_key() {
            return;
        }
        match event.key().as_str() {
            "ArrowRight" => go(step.get_untracked() + 1),
            "ArrowLeft" => go(step.get_untracked().wrapping_sub(1)),
            _ => {}
        }
    };
    view! {
        <section class="lesson" aria-label="Lesson" on:keydown=turn>
            <nav aria-label="Steps of the lesson">
                <ol>
                    {STEPS.iter().enumerate().map(|(index, Step { title, .. })| {
                        let current = move || (step.get() == index).then_some("step");
                        view! { <li><a href=address::link(address::Room::Lesson, &options_of(index)) aria-current=current>{*title}</a></li> }
                    }).collect_view()}
                </ol>
            </nav>
            {(0..STEPS.len()).map(|index| view! { <Page index step/> }).collect_view()}
            <p class="turn">
                <button type="button" disabled=move || step.get() == 0 on:click=move |_| go(step.get_untracked().wrapping_sub(1))>"← Back"</button>
                <button type="button" disabled=move || step.get() + 1 == STEPS.len() on:click=move |_| go(step.get_untracked() + 1)>"Next →"</button>
            </p>
        </section>
    }
}

/// A step's page: built when it is first shown, and from then on kept, so that a training goes on.
#[component]
fn Page(index: usize, step: Memo<usize>) -> impl IntoView {
    let shown = Memo::new(move |_| step.get() == index);
    let visited = Memo::new(move |before| shown.get() || before.copied().unwrap_or(false));
    let Step { title, text, control, live } = &STEPS[index];
    let page = move || {
        let prose = RwSignal::new(String::new());
        spawn_local(async move {
            let unread =
                |why| format!("<p class=\"problem\">The text could not be loaded ({why}): reload the page.</p>");
            prose.set(fetch::text(text).await.unwrap_or_else(unread));
        });
        view! {
            <h1 tabindex="-1"><span class="number">{format!("{} of {}", index + 1, STEPS.len())}</span>{*title}</h1>
            <div class="prose" inner_html=prose></div>
            <div class="control" role="group" aria-label="To try">{control()}</div>
            {live.as_ref().map(|Live { watch, setup }| view! {
                <section class="live" aria-label="Live">
                    <h2>"Watch it in a training"</h2>
                    <p>{*watch}</p>
                    <Lab setup=setup()/>
                </section>
            })}
        }
    };
    view! { <article id=id(index) hidden=move || !shown.get()>{move || visited.get().then(page)}</article> }
}

/// Goes on reading at a step's heading.
fn read_on(step: usize) {
    let heading = document().query_selector(&format!("#{} h1", id(step))).ok().flatten();
    if let Some(heading) = heading.and_then(|heading| heading.dyn_into::<HtmlElement>().ok()) {
        // Only a courtesy to those who read by keyboard.
        let _ = heading.focus();
    }
}

fn id(step: usize) -> String {
    format!("lesson-{}", step + 1)
}

/// The step that the options name, from 0; the first where they name none.
fn step_of(options: &address::Options) -> usize {
    let named = options.iter().find(|(key, _)| key == OPTION).and_then(|(_, number)| number.parse::<usize>().ok());
    named.map_or(0, |number| number.clamp(1, STEPS.len()) - 1)
}

fn options_of(step: usize) -> address::Options {
    vec![(OPTION.to_owned(), (step + 1).to_string())]
}

/// The lab of a step: runs with these options changed, few controls and figures.
fn lab<const N: usize>(
    runs: [&[(&str, &str)]; N],
    controls: &'static [&'static str],
    figures: &'static [&'static str],
) -> Setup {
    let named =
        |options: &[(&str, &str)]| options.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let runs = runs.iter().map(|options| Options::read(&Options::default(), &named(options))).collect();
    Setup { runs, controls: Some(controls), figures: Some(figures), whole: false }
}
