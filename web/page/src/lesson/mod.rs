//! The lesson: steps, each with a text, a question with a control to try, and some with a training that answers another.

mod answer;
mod contrast;
mod evaluation;
mod interference;
mod matrix;
mod probe;
mod range_input;
mod sharing;
mod slimmable;
mod teacher;
mod techniques;

use leptos::{ev::KeyboardEvent, prelude::*};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;
use web_sys::{Element, HtmlElement};

use crate::{
    address::{self, Address, Route},
    fetch,
    train::{self, RunEvents, RunsView, Workspace},
};

/// The steps in order.
static STEPS: [Step; 8] = [
    contrast::STEP,
    slimmable::STEP,
    sharing::STEP,
    interference::STEP,
    techniques::STEP,
    teacher::STEP,
    evaluation::STEP,
    probe::STEP,
];
/// The key in the address that names the step, counted from 1.
const STEP_KEY: &str = "step";
/// What makes a run short enough for a lesson: a minute or two on one core.
const SHORT: &str = "epochs=3";
/// Elements that use the arrow keys themselves.
const USE_ARROWS: &str = "input, select, textarea, button, summary, [role=slider]";

/// A step of the lesson.
struct Step {
    title: &'static str,
    /// The path in the bundle of the text, with the question and its answer.
    text: &'static str,
    /// The control to try.
    control: fn() -> AnyView,
    /// A training of the learner's own, if the step has one.
    live: Option<Live>,
}

/// A training that answers the step's second question.
struct Live {
    /// The path in the bundle of the question.
    text: &'static str,
    /// Runs to choose from: a name, and the options as in the address of a training. The first is set up.
    setups: &'static [(&'static str, &'static str)],
    /// Names of the report's figures to show.
    figures: &'static [&'static str],
    /// Says what the runs show, once they show it.
    answer: fn(&[RunEvents]) -> Option<String>,
}

/// The page of the lesson, which shows one step at a time.
#[component]
pub fn LessonPage() -> impl IntoView {
    let address: Address = expect_context();
    let step = Memo::new(move |_| address.options(Route::Lesson).with(step_of));
    let go = move |to: usize| {
        if to < STEPS.len() && to != step.get_untracked() {
            address.set_options(Route::Lesson, options_of(to));
            request_animation_frame(move || focus_heading(to));
        }
    };
    let back = move || go(step.get_untracked().wrapping_sub(1));
    let next = move || go(step.get_untracked() + 1);
    let is_first = move || step.get() == 0;
    let is_last = move || step.get() + 1 == STEPS.len();
    let on_key = move |event: KeyboardEvent| {
        let uses_arrows =
            event.target().and_then(|target| target.dyn_into::<Element>().ok()?.closest(USE_ARROWS).ok()?);
        if uses_arrows.is_some() || event.alt_key() || event.ctrl_key() || event.meta_key() {
            return;
        }
        match event.key().as_str() {
            "ArrowRight" => next(),
            "ArrowLeft" => back(),
            _ => {}
        }
    };
    view! {
        <section class="lesson" aria-label="Lesson" on:keydown=on_key>
            <nav aria-label="Steps of the lesson">
                <ol>
                    {STEPS.iter().enumerate().map(|(index, Step { title, .. })| {
                        let current = move || (step.get() == index).then_some("step");
                        let link = address::link(Route::Lesson, &options_of(index));
                        view! { <li><a href=link aria-current=current>{*title}</a></li> }
                    }).collect_view()}
                </ol>
            </nav>
            {(0..STEPS.len()).map(|index| view! { <StepView index step/> }).collect_view()}
            <p class="turn">
                <button type="button" disabled=is_first on:click=move |_| back()>"← Back"</button>
                <button type="button" disabled=is_last on:click=move |_| next()>"Next →"</button>
            </p>
        </section>
    }
}

/// A step. It is built on the first visit and then kept, so that its training continues in the background.
#[component]
fn StepView(index: usize, step: Memo<usize>) -> impl IntoView {
    let shown = Memo::new(move |_| step.get() == index);
    let visited = Memo::new(move |before| shown.get() || before.copied().unwrap_or(false));
    let Step { title, text, control, live } = &STEPS[index];
    let content = move || {
        view! {
            <h1 tabindex="-1"><span class="number">{format!("{} of {}", index + 1, STEPS.len())}</span>{*title}</h1>
            <div class="prose" inner_html=loaded(text)></div>
            <div class="control" role="group" aria-label="Try it">{control()}</div>
            {live.as_ref().map(training)}
        }
    };
    view! { <article id=id(index) hidden=move || !shown.get()>{move || visited.get().then(content)}</article> }
}

/// Returns the contents of a file in the bundle, as HTML, once it is loaded.
fn loaded(path: &'static str) -> RwSignal<String> {
    let html = RwSignal::new(String::new());
    spawn_local(async move {
        let failed = |why| format!("<p class=\"problem\">The text could not be loaded ({why}): reload the page.</p>");
        html.set(fetch::text(path).await.unwrap_or_else(failed));
    });
    html
}

/// The learner's own runs, and the answer that they give.
fn training(live: &'static Live) -> AnyView {
    let options = |setup: usize| train::read(&address::parse(&format!("{SHORT}&{}", live.setups[setup].1)));
    let workspace = Workspace::new(options(0));
    let chosen = RwSignal::new(0);
    let setups = live.setups.iter().enumerate().map(|(index, (name, _))| {
        let choose = move |_| {
            chosen.set(index);
            workspace.reset();
            workspace.set_options(options(index));
        };
        let is_pressed = move || (chosen.get() == index).to_string();
        view! { <button type="button" aria-pressed=is_pressed on:click=choose>{*name}</button> }.into_any()
    });
    let setups: Vec<AnyView> = setups.collect();
    let answer = Memo::new(move |_| (live.answer)(&workspace.shown_events()));
    view! {
        <section class="live" aria-label="Your own run">
            <div class="ask" inner_html=loaded(live.text)></div>
            <div class="setups" role="group" aria-label="Set up">{setups}</div>
            <RunsView workspace figures=live.figures/>
            <p class="answer">{answer}</p>
        </section>
    }
    .into_any()
}

/// Moves the keyboard focus to a step's heading.
fn focus_heading(step: usize) {
    let heading = document().query_selector(&format!("#{} h1", id(step))).ok().flatten();
    if let Some(heading) = heading.and_then(|heading| heading.dyn_into::<HtmlElement>().ok()) {
        // A failure only leaves the focus where it was.
        let _ = heading.focus();
    }
}

fn id(step: usize) -> String {
    format!("lesson-{}", step + 1)
}

/// Returns the step that the options name, counted from 0; the first by default.
fn step_of(options: &address::Options) -> usize {
    let named = options.iter().find(|(key, _)| key == STEP_KEY).and_then(|(_, number)| number.parse::<usize>().ok());
    named.map_or(0, |number| number.clamp(1, STEPS.len()) - 1)
}

fn options_of(step: usize) -> address::Options {
    vec![(STEP_KEY.to_owned(), (step + 1).to_string())]
}
