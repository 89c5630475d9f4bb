//! What the examples run, so that trying Herder out needs nothing else installed: a page that says which version it is,
//! and a health endpoint. Switches make it slow or unhealthy, to see how a rollout deals with that.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::get;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

/// Flags of `herder example-server`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ExampleServerArguments {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,
    /// Port to listen on
    #[arg(long, env = "NOMAD_PORT_http")]
    port: u16,
    /// Version to show
    #[arg(long, default_value = "1")]
    release: String,
    /// Text to show
    #[arg(long, default_value = "Hello from Herder")]
    text: String,
    /// Be unhealthy for this long after the start
    #[arg(long, value_name = "DURATION", value_parser = model_duration)]
    slow_start: Option<Duration>,
    /// Wait this long before each answer
    #[arg(long, value_name = "DURATION", value_parser = model_duration)]
    latency: Option<Duration>,
    /// Never be healthy
    #[arg(long)]
    unhealthy: bool,
}

struct Page {
    html: String,
    started: Instant,
    arguments: ExampleServerArguments,
}

/// Serves until SIGINT or SIGTERM, and then answers what was already asked.
pub(crate) fn run(arguments: &ExampleServerArguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: &ExampleServerArguments) -> anyhow::Result<()> {
    let address = SocketAddr::new(arguments.bind, arguments.port);
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on {address}"))?;
    let page = Arc::new(Page {
        html: page(arguments),
        started: Instant::now(),
        arguments: arguments.clone(),
    });
    let router = Router::new()
        .route("/", get(index))
        .route("/version", get(version))
        .route("/health", get(health))
        .with_state(page);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    eprintln!("example server {} listens on {}", arguments.release, listener.local_addr()?);
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            eprintln!("example server ends");
        })
        .await?;
    Ok(())
}

async fn index(State(page): State<Arc<Page>>) -> Html<String> {
    wait(&page).await;
    Html(page.html.clone())
}

async fn version(State(page): State<Arc<Page>>) -> String {
    wait(&page).await;
    format!("{}\n", page.arguments.release)
}

async fn health(State(page): State<Arc<Page>>) -> (StatusCode, String) {
    let slow = page.arguments.slow_start.is_some_and(|slow| page.started.elapsed() < slow);
    if page.arguments.unhealthy || slow {
        let why = if slow { "still starting" } else { "told to be unhealthy" };
        return (StatusCode::SERVICE_UNAVAILABLE, format!("unhealthy: {why}\n"));
    }
    (StatusCode::OK, "healthy\n".to_owned())
}

async fn wait(page: &Page) {
    if let Some(latency) = page.arguments.latency {
        tokio::time::sleep(latency).await;
    }
}

fn page(arguments: &ExampleServerArguments) -> String {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| "-".to_owned());
    let rows: String = [
        ("release", arguments.release.clone()),
        ("job", variable("NOMAD_JOB_ID")),
        ("allocation", variable("NOMAD_ALLOC_NAME")),
        ("address", format!("{}:{}", arguments.bind, arguments.port)),
        ("commit", variable("HERDER_COMMIT")),
    ]
    .map(|(name, value)| format!("<tr><th>{name}<td>{}", escaped(&value)))
    .concat();
    format!(
        "<!doctype html><meta charset=utf-8><title>{text}</title>\
         <style>body{{font:18px system-ui;margin:4em auto;max-width:40em}}th{{text-align:left;padding-right:2em}}</style>\
         <h1>{text}</h1><table>{rows}</table>\n",
        text = escaped(&arguments.text)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn model_duration(text: &str) -> Result<Duration, String> {
    model::parse_duration(text).map_err(|error| error.to_string())
}
