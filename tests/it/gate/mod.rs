//! The doors of `examples/`: real proxies before a site, with the example configurations.

mod browser;
mod proxies;
mod servers;
mod traefik;
