//! Accounts, orders, authorizations, challenges and certificates (RFC 8555, section 7).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Value, json};

use super::answers::{Body, Good, Problem};
use super::authority::Lifetime;
use super::books::{Authorization, Books, Order, State};
use super::{Signed, Site, validation};

impl Site {
    pub(super) fn new_account(&self, signed: &Signed) -> Result<Good, Problem> {
        if signed.account.is_some() {
            return Err(Problem::malformed("it needs jwk"));
        }
        let agreed = signed.payload.as_ref().map(|payload| &payload["termsOfServiceAgreed"]);
        if agreed != Some(&Value::Bool(true)) {
            let what = "the terms of service must be agreed to";
            return Err(Problem::new(StatusCode::FORBIDDEN, "userActionRequired", what));
        }
        let mut books = self.books();
        let known = books.accounts.iter().position(|key| *key == signed.key);
        let status = if known.is_some() { StatusCode::OK } else { StatusCode::CREATED };
        let number = known.unwrap_or_else(|| {
            books.accounts.push(signed.key.clone());
            books.accounts.len() - 1
        });
        Ok(Good::of(json!({ "status": "valid" })).at(status, self.url("account", number)))
    }

    pub(super) fn new_order(&self, signed: &Signed) -> Result<Good, Problem> {
        let account = signed.account()?;
        let mut books = self.books();
        let order = books.orders.len();
        let payload = signed.payload.as_ref().ok_or_else(|| Problem::malformed("no payload"))?;
        let asked = payload["identifiers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let names = asked.iter().map(|it| match (it["type"].as_str(), it["value"].as_str()) {
            (Some("dns"), Some(name)) => Ok(name.to_owned()),
            _ => Err(Problem::malformed(format!("{it} is no name"))),
        });
        let names = names.collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() {
            return Err(Problem::malformed("it is for nothing"));
        }
        if let Some(problem) = &books.refusal {
            return Err(problem.clone());
        }
        let mut authorizations = Vec::new();
        for name in &names {
            let number = books.authorizations.len();
            let token =
                URL_SAFE_NO_PAD.encode(format!("a token without a meaning, number {number}"));
            let state = State::Pending;
            books.authorizations.push(Authorization { account, name: name.clone(), token, state });
            authorizations.push(number);
        }
        books.orders.push(Order { account, names, authorizations, chain: None });
        let shown = self.shown(&books, order);
        Ok(Good::of(shown).at(StatusCode::CREATED, self.url("order", order)))
    }

    fn shown(&self, books: &Books, number: usize) -> Value {
        let order = &books.orders[number];
        let urls = order.authorizations.iter().map(|&it| self.url("authorization", it));
        let all = |good: fn(&State) -> bool| {
            order.authorizations.iter().all(|&it| good(&books.authorizations[it].state))
        };
        let status = if order.chain.is_some() {
            "valid"
        } else if all(|state| matches!(state, State::Valid)) {
            "ready"
        } else if all(|state| !matches!(state, State::Invalid(_))) {
            "pending"
        } else {
            "invalid"
        };
        let mut shown = json!({
            "status": status,
            "authorizations": urls.collect::<Vec<_>>(),
            "finalize": format!("{}/finalize", self.url("order", number)),
        });
        if order.chain.is_some() {
            shown["certificate"] = self.url("certificate", number).into();
        }
        shown
    }

    pub(super) fn order(&self, signed: &Signed, number: usize) -> Result<Good, Problem> {
        let books = self.books();
        books.own_order(signed.account()?, number)?;
        Ok(Good::of(self.shown(&books, number)))
    }

    pub(super) fn authorization(&self, signed: &Signed, number: usize) -> Result<Good, Problem> {
        let books = self.books();
        let authorization = books.own_authorization(signed.account()?, number)?;
        let Authorization { name, token, state, .. } = authorization;
        let url = self.url("challenge", number);
        let (status, mut challenge) = match state {
            State::Pending => ("pending", json!({ "status": "pending" })),
            State::Processing => ("pending", json!({ "status": "processing" })),
            State::Valid => ("valid", json!({ "status": "valid" })),
            State::Invalid(why) => {
                let problem = Problem::unauthorized(why.as_str()).document();
                ("invalid", json!({ "status": "invalid", "error": problem }))
            }
        };
        challenge["type"] = "tls-alpn-01".into();
        challenge["url"] = url.as_str().into();
        challenge["token"] = token.as_str().into();
        Ok(Good::of(json!({
            "status": status,
            "identifier": { "type": "dns", "value": name },
            // One that the node must leave alone.
            "challenges": [{ "type": "dns-01", "url": url, "token": token, "status": "pending" }, challenge],
        })))
    }

    pub(super) fn challenge(
        self: Arc<Self>,
        signed: &Signed,
        number: usize,
    ) -> Result<Good, Problem> {
        let account = signed.account()?;
        if signed.payload.as_ref().is_none_or(|payload| !payload.is_object()) {
            return Err(Problem::malformed("an empty object says that it is ready"));
        }
        let mut books = self.books();
        let owner = books.accounts[account].thumbprint();
        let owner = if books.expects_another_account { "another".to_owned() } else { owner };
        books.own_authorization(account, number)?;
        let authorization = &mut books.authorizations[number];
        if matches!(authorization.state, State::Pending) {
            authorization.state = State::Processing;
            let (site, name) = (self.clone(), authorization.name.clone());
            let wanted = format!("{}.{owner}", authorization.token);
            tokio::spawn(async move {
                let mut is_at = site.is_at.clone();
                let Ok(port) = is_at.wait_for(Option::is_some).await.map(|port| *port) else {
                    return;
                };
                let looked =
                    validation::look(port.expect("some"), site.proxied, &name, &wanted).await;
                site.books().authorizations[number].state = match looked {
                    Ok(()) => State::Valid,
                    Err(why) => State::Invalid(why),
                };
            });
        }
        drop(books);
        Ok(Good::of(json!({
            "type": "tls-alpn-01", "status": "processing", "url": self.url("challenge", number),
        })))
    }

    pub(super) fn finalize(&self, signed: &Signed, number: usize) -> Result<Good, Problem> {
        let mut books = self.books();
        books.own_order(signed.account()?, number)?;
        if self.shown(&books, number)["status"] != "ready" {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "orderNotReady",
                "prove the names first",
            ));
        }
        let request = signed.payload.as_ref().and_then(|payload| payload["csr"].as_str());
        let request = request.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let request = request.ok_or_else(|| Problem::malformed("no csr"))?;
        let lifetime = books.lifetimes.pop().unwrap_or(Lifetime::LONG);
        let chain = self.authority.sign(&request, &books.orders[number].names, lifetime);
        let chain = chain.map_err(|what| Problem::new(StatusCode::BAD_REQUEST, "badCSR", what))?;
        books.orders[number].chain = Some(chain);
        Ok(Good::of(self.shown(&books, number)))
    }

    pub(super) fn certificate(&self, signed: &Signed, number: usize) -> Result<Good, Problem> {
        let books = self.books();
        let order = books.own_order(signed.account()?, number)?;
        let chain = order.chain.clone().ok_or_else(Problem::missing)?;
        Ok(Good { status: StatusCode::OK, location: None, body: Body::Chain(chain) })
    }
}
