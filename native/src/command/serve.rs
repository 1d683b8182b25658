//! `slimclr serve`: an HTTP server of the browser page, and of a run's events as it trains.

mod allowed_hosts;
mod confined;
mod event_stream;
mod router;

use std::{
    env,
    io::{ErrorKind, IsTerminal},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    pin::pin,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use futures::{
    StreamExt,
    future::{Either, select},
};
use tokio::net::TcpListener;

use self::allowed_hosts::AllowedHosts;
use crate::{interrupt, run_folder::RunFolder, terminal};

/// The default address.
const ADDRESS: &str = "127.0.0.1:8787";

/// Flags of `slimclr serve`.
#[derive(Args)]
#[command(after_long_help = "\
The page trains small networks in the browser, shows how their widths interfere, switches the width of a trained \
network, and replays recorded runs. Everything is computed in the browser; nothing leaves the machine.

With a run, the page also shows that run: its events so far, then each new event as training writes it. The run may \
still be training, and it may be stopped and resumed while it is shown. For example, in two terminals:

  slimclr pretrain --interference --out runs/watched
  slimclr serve runs/watched

The server is read-only. It gives access to the page's folder and to the run's events, loss landscape and checkpoint. \
It answers only requests whose Host is this machine or the host of --address, so that no other website can read a run \
through the browser (DNS rebinding).")]
pub struct ServeFlags {
    /// Folder of a run to watch; the run need not have started
    #[arg(value_name = "RUN")]
    run: Option<PathBuf>,
    /// Address to listen on; port 0 takes a free port. Other machines can connect unless it is a loopback address
    /// [default: 127.0.0.1:8787, or a free port if that is taken]
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// Folder of the page, as built by `cargo xtask web` [default: 'web' beside the folder of this program]
    #[arg(long, value_name = "FOLDER")]
    bundle: Option<PathBuf>,
}

/// Serves the page until Ctrl-C.
///
/// # Errors
/// If the page or the run is missing, or the address cannot be used.
pub fn run(flags: &ServeFlags) -> Result<()> {
    let bundle = flags.bundle.clone().map_or_else(default_bundle, Ok)?;
    if !bundle.join("index.html").is_file() {
        bail!(
            "there is no page in {}: build it with `cargo xtask web`, or name its folder with --bundle",
            bundle.display()
        );
    }
    let run = flags.run.as_deref().map(RunFolder::open).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(serve(flags.address.as_deref(), &bundle, run.as_ref()));
    // Does not wait for files that are still being read for a browser.
    runtime.shutdown_background();
    served
}

/// Returns the folder that `cargo xtask web` writes to: `web` in cargo's target directory, where the program is in
/// `release`.
fn default_bundle() -> Result<PathBuf> {
    let program =
        env::current_exe().context("cannot find the folder of this program: name the page's folder with --bundle")?;
    let target = program.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    Ok(target.join("web"))
}

async fn serve(wanted: Option<&str>, bundle: &Path, run: Option<&RunFolder>) -> Result<()> {
    let listener = bind(wanted).await?;
    let address = listener.local_addr()?;
    let router = router::router(bundle, run, AllowedHosts::new(wanted.unwrap_or(ADDRESS), address.ip()))?;
    let mut interrupted = interrupt::listen("the server stops");
    let served = async {
        print_url(address, run);
        axum::serve(listener, router).await
    };
    // Open connections are not awaited, because event streams never end.
    match select(interrupted.next(), pin!(served)).await {
        Either::Left(_) => Ok(()),
        Either::Right((ended, _)) => ended.context("the server has failed"),
    }
}

async fn bind(wanted: Option<&str>) -> Result<TcpListener> {
    let address = wanted.unwrap_or(ADDRESS);
    match TcpListener::bind(address).await {
        Err(error) if wanted.is_none() && error.kind() == ErrorKind::AddrInUse => {
            terminal::note(&format!("{address} is in use by another program, so this is on another port:"));
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port is free")
        }
        bound => bound.with_context(|| {
            format!("cannot listen on {address}: name a free address of this machine with --address HOST:PORT")
        }),
    }
}

/// Prints the page's URL and what to do with it. Opens it in a browser if standard output is a terminal.
fn print_url(address: SocketAddr, run: Option<&RunFolder>) {
    let url = url(address, run.is_some());
    terminal::print(&url);
    if !address.ip().is_loopback() {
        terminal::warn(&format!("every machine that can reach {address} can see the page and the run"));
    }
    match run {
        Some(run) => {
            terminal::note(&format!("next, open it in a browser to watch {}; Ctrl-C stops the server", run.name()));
        }
        None => {
            terminal::note("next, open it in a browser; Ctrl-C stops the server. To watch a run: slimclr serve RUN");
        }
    }
    if std::io::stdout().is_terminal()
        && let Err(error) = open::that_detached(&url)
    {
        terminal::warn(&format!("cannot open a browser: {error}; open the address above yourself"));
    }
}

/// Returns the page's URL on this machine.
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
    fn the_url_of_an_unspecified_address_is_a_loopback_one() {
        let url = |address: &str, live| url(address.parse().unwrap(), live);
        assert_eq!(url("127.0.0.1:8787", false), "http://127.0.0.1:8787/");
        assert_eq!(url("0.0.0.0:80", true), "http://127.0.0.1:80/?live");
        assert_eq!(url("[::]:80", false), "http://[::1]:80/");
        assert_eq!(url("192.168.1.5:80", true), "http://192.168.1.5:80/?live");
    }
}
