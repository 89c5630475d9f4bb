//! Mirrors and followers against real repositories, made with the `git` program in temporary folders.

mod fixture;
mod given;
mod http;
mod http_server;
mod local;
mod poller;
mod ssh;
mod turns;
