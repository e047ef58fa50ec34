//! Makes an account, signs in, and asks who one is.
//!
//! `cargo run -p parlance-client --example sign_in -- http://127.0.0.1:8080 ada Correct-Horse-1`

use parlance_client::{ClientError, Http, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ClientError> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().unwrap_or_default();
    let (url, username, password) = (argument(), argument(), argument());

    let http = Http::new(Server::parse(&url)?);
    match http.register(&username, &password).await {
        Ok(id) => println!("registered as {id}"),
        Err(ClientError::Refused { code, .. }) if code == "name_taken" => {
            println!("{username} is there already");
        }
        Err(error) => return Err(error),
    }

    let tokens = http.login(&username, &password).await?;
    let (id, name) = http.me(&tokens.access_token).await?;
    println!("signed in as {name} ({id}) for {} s", tokens.expires_in);

    // A refresh token works once and gives the next pair.
    let tokens = http.refresh(&tokens.refresh_token).await?;
    http.logout(&tokens.access_token, &tokens.refresh_token).await?;
    println!("signed out");
    Ok(())
}
