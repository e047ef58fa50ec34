//! What the server knows.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::answers::Problem;
use super::authority::Lifetime;
use super::jws::Key;

/// Accounts, orders and authorizations have their place here as their number.
#[derive(Default)]
pub(super) struct Books {
    pub(super) nonces: HashSet<String>,
    pub(super) nonces_given: usize,
    pub(super) accounts: Vec<Key>,
    pub(super) orders: Vec<Order>,
    pub(super) authorizations: Vec<Authorization>,
    pub(super) lifetimes: Vec<Lifetime>,
    pub(super) refusal: Option<Problem>,
    pub(super) expects_another_account: bool,
}

pub(super) struct Order {
    pub(super) account: usize,
    pub(super) names: Vec<String>,
    pub(super) authorizations: Vec<usize>,
    pub(super) chain: Option<String>,
}

pub(super) struct Authorization {
    pub(super) account: usize,
    pub(super) name: String,
    pub(super) token: String,
    pub(super) state: State,
}

pub(super) enum State {
    Pending,
    /// The server looks.
    Processing,
    Valid,
    Invalid(String),
}

impl Books {
    pub(super) fn new_nonce(&mut self) -> String {
        self.nonces_given += 1;
        let nonce = URL_SAFE_NO_PAD.encode(format!("nonce {}", self.nonces_given));
        self.nonces.insert(nonce.clone());
        nonce
    }

    pub(super) fn own_order(&self, account: usize, number: usize) -> Result<&Order, Problem> {
        let order = self.orders.get(number).ok_or_else(Problem::missing)?;
        if order.account == account { Ok(order) } else { Err(Problem::unauthorized("not yours")) }
    }

    pub(super) fn own_authorization(
        &self,
        account: usize,
        number: usize,
    ) -> Result<&Authorization, Problem> {
        let found = self.authorizations.get(number).ok_or_else(Problem::missing)?;
        if found.account == account { Ok(found) } else { Err(Problem::unauthorized("not yours")) }
    }
}
