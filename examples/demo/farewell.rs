//! After the story: lines to try, which work as they are printed.

use alloy::primitives::Bytes;
use alloy::sol_types::SolCall as _;
use serde_json::json;

use crate::anvil::TestUsdc;
use crate::failure::Outcome;
use crate::print::Teller;
use crate::stage::World;

const TENANT: &str = "you";

/// Prints them, with the key. A charge is made for them, so that there is something to pay.
pub async fn print(teller: &Teller, world: &World) -> Outcome<()> {
    let charge = world.api.create_charge(TENANT).await?;
    let transfer = TestUsdc::transferCall {
        to: world.cast.treasury,
        value: charge.due.base_units()?,
    };
    let transaction = json!({
        "from": world.cast.payer,
        "to": world.contracts.usdc,
        "data": Bytes::from(transfer.abi_encode()),
    });
    let pay = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_sendTransaction", "params": [transaction]});
    let check = json!({"tenantId": TENANT, "feature": "video_calls"});
    let (url, key, charge_id) = (&world.api.url, &world.api.key, &charge.id);
    let json = "-H 'content-type: application/json'";
    let authorised = format!("-H 'authorization: Bearer {key}'");

    teller.title("Try it");
    println!("May {TENANT} call by video? Not yet:");
    println!("  curl -s '{url}/api/billing/check' {json} {authorised} -d '{check}'\n");
    println!(
        "Pay the charge of {} {} that waits for {TENANT}, on the chain:",
        charge.due.amount, charge.token.symbol
    );
    println!("  curl -s '{}' {json} -d '{pay}'\n", world.anvil.url());
    println!("Watch it be confirmed, and see the plan change:");
    println!("  curl -s '{url}/api/billing/crypto/charge/{charge_id}?tenantId={TENANT}' {authorised}");
    println!("  curl -s '{url}/api/billing/subscription?tenantId={TENANT}' {authorised}\n");
    println!("What runs, and how it is:");
    println!("  curl -s '{url}/api/admin/chains' {authorised}");
    println!("  curl -s '{url}/readyz'");
    println!("  curl -s '{url}/openapi.json'\n");
    println!("Metrics, for Prometheus:  {}", world.service.metrics_url);
    println!("Ctrl-C to stop.");
    Ok(())
}
