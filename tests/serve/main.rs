//! `slimclr serve`: the page's files, a run's events while training writes them, and access control.

mod access;
mod events;
mod files;
mod server;
mod startup;
