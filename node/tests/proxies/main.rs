//! A real node behind the proxies for which `deploy/proxy` has an example, each run as it stands there but
//! for addresses and files. They are Debian's packages; `.ci/setup test` installs them.

mod harness;

mod caddy;
mod haproxy;
mod modsecurity;
mod nginx;
mod talk;
