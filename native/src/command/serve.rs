//! `slimclr serve`: the browser's page, and a run that trains streamed into it.

mod confined;
mod feed;
mod hosts;
mod site;

use std::{
    env,
    io::{ErrorKind, IsTerminal},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    pin::pin,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use futures::future::{Either, select};
use tokio::net::TcpListener;

use self::hosts::Hosts;
use crate::{run_folder::RunFolder, terminal};

/// Where the page is, unless it is said.
const ADDRESS: &str = "127.0.0.1:8787";

/// Flags of `slimclr serve`.
#[derive(Args)]
#[command(after_long_help = "\
The page trains small networks in the browser, shows how their widths interfere, switches the widths of a trained \
network, and replays what runs have recorded. Everything is computed in the browser; nothing leaves the machine.

With a run, the page draws it too, live: all that it has recorded so far, then each event as training writes it. Start \
one in another terminal and point at its folder; it may go on, stop and be resumed meanwhile:

  slimclr pretrain --interference --out runs/watched
  slimclr serve runs/watched

Only the page's folder and the run's events, loss landscape and checkpoint can be read, and nothing can be written. \
Requests under another name than this machine's or that of --address are refused: so no page from elsewhere can read \
along.")]
pub struct Serve {
    /// A run's folder, to watch its training; it need not have begun
    #[arg(value_name = "RUN")]
    run: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one. Any address but a loopback one lets other machines in [default:
    /// 127.0.0.1:8787, or a free port where that is taken]
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// The page's folder, as `cargo xtask web` makes it [default: 'web' beside the folder that holds this program]
    #[arg(long, value_name = "FOLDER")]
    bundle: Option<PathBuf>,
}

/// Serves the page until Ctrl-C.
///
/// # Errors
/// If there is no page or no run, or the address cannot be used.
pub fn run(flags: &Serve) -> Result<()> {
    let bundle = flags.bundle.clone().map_or_else(beside_program, Ok)?;
    if !bundle.join("index.html").is_file() {
        bail!(
            "there is no page in {}: build it by `cargo xtask web`, or name its folder with --bundle",
            bundle.display()
        );
    }
    let run = flags.run.as_deref().map(RunFolder::open).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(serve(flags.address.as_deref(), &bundle, run.as_ref()));
    // A file may be being read for a browser that will not have it any more.
    runtime.shutdown_background();
    served
}

/// Where `cargo xtask web` writes: in cargo's target directory, as the profile's folder with the program is.
fn beside_program() -> Result<PathBuf> {
    let program =
        env::current_exe().context("cannot tell where this program is: name the page's folder by --bundle")?;
    let target = program.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    Ok(target.join("web"))
}

async fn serve(wanted: Option<&str>, bundle: &Path, run: Option<&RunFolder>) -> Result<()> {
    let listener = bind(wanted).await?;
    let address = listener.local_addr()?;
    let site = site::site(bundle, run, Hosts::new(wanted.unwrap_or(ADDRESS), address.ip()))?;
    let served = async {
        announce(address, run);
        axum::serve(listener, site).await
    };
    // Ctrl-C is the first to be polled, so that it is heard from the moment that the address is known. Streams of
    // events never end, so nobody waits for the connections.
    match select(pin!(tokio::signal::ctrl_c()), pin!(served)).await {
        Either::Left((interrupted, _)) => interrupted.context("cannot listen for Ctrl-C"),
        Either::Right((ended, _)) => ended.context("the server has failed"),
    }
}

async fn bind(wanted: Option<&str>) -> Result<TcpListener> {
    let address = wanted.unwrap_or(ADDRESS);
    match TcpListener::bind(address).await {
        Err(error) if wanted.is_none() && error.kind() == ErrorKind::AddrInUse => {
            eprintln!("{address} is taken by another program, so this is another port:");
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port is free")
        }
        bound => bound.with_context(|| {
            format!("cannot listen on {address}: name a free address of this machine as --address HOST:PORT")
        }),
    }
}

/// Says where the page is and what to do, and shows it where a person is looking.
fn announce(address: SocketAddr, run: Option<&RunFolder>) {
    let url = url(address, run.is_some());
    terminal::print(&url);
    if !address.ip().is_loopback() {
        eprintln!("warning: {address} is open to every machine that can reach it, and what is served with it");
    }
    match run {
        Some(run) => eprintln!("next, open it in a browser: it shows {} as it trains; Ctrl-C ends", run.name()),
        None => eprintln!("next, open it in a browser; Ctrl-C ends. To watch a run train: slimclr serve RUN"),
    }
    if std::io::stdout().is_terminal()
        && let Err(error) = open::that_detached(&url)
    {
        eprintln!("warning: no browser could be opened: {error}");
    }
}

/// The page's address on this machine.
fn url(address: SocketAddr, live: bool) -> String {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    format!("http://{address}/{}", if live { "?live" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_means_all_is_opened_on_this_machine() {
        let url = |address: &str, live| url(address.parse().unwrap(), live);
        assert_eq!(url("127.0.0.1:8787", false), "http://127.0.0.1:8787/");
        assert_eq!(url("0.0.0.0:80", true), "http://127.0.0.1:80/?live");
        assert_eq!(url("[::]:80", false), "http://[::1]:80/");
        assert_eq!(url("192.168.1.5:80", true), "http://192.168.1.5:80/?live");
    }
}
