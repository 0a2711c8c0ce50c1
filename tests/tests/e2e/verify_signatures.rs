//! A signature is the payer's, over exactly this payment, or it is refused.

use alloy_primitives::{Bytes, U256, uint};
use anyhow::Result;
use obol_core::{Asset, Domain, Payment, Reason};
use obol_devchain::Mining;
use obol_evm::typed;
use obol_tests::{Buyer, Rig, Sale, SellerOptions};

/// The order of secp256k1.
const ORDER: U256 = uint!(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141_U256);

async fn assert_refused(rig: &Rig, rows: Vec<(String, Reason, Payment)>) -> Result<()> {
    for (name, reason, payment) in rows {
        match rig.seller.attempt(&payment).await? {
            Sale::Refused(refusal) => assert_eq!(refusal.reason, reason, "{name}: {refusal}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    Ok(())
}

fn flip(bytes: &mut [u8], bit: usize) {
    bytes[bit / 8] ^= 1 << (bit % 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bit_changed_anywhere_makes_a_payment_worthless() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let terms = &rig.seller.requirement;
    type Change = fn(&mut Payment, usize);
    // The changed bits are low ones: a payment that is expired or not yet valid says so first.
    let fields: [(&str, Reason, Change, &[usize]); 6] = [
        (
            "payer",
            Reason::InvalidSignature,
            |p, bit| flip(p.authorization.from.as_mut_slice(), bit),
            &[0, 81, 159],
        ),
        (
            "payee",
            Reason::RecipientMismatch,
            |p, bit| flip(p.authorization.to.as_mut_slice(), bit),
            &[0, 81, 159],
        ),
        (
            "nonce",
            Reason::InvalidSignature,
            |p, bit| flip(p.authorization.nonce.as_mut_slice(), bit),
            &[0, 100, 255],
        ),
        (
            "validAfter",
            Reason::InvalidSignature,
            |p, bit| p.authorization.valid_after ^= U256::ONE << bit,
            &[0, 3, 20],
        ),
        (
            "validBefore",
            Reason::InvalidSignature,
            |p, bit| p.authorization.valid_before ^= U256::ONE << bit,
            &[0, 3, 255],
        ),
        (
            "value",
            Reason::ValueMismatch,
            |p, bit| {
                p.authorization.value =
                    obol_core::Amount::from_atomic(p.authorization.value.atomic() ^ (U256::ONE << bit));
            },
            &[0, 13, 255],
        ),
    ];
    let mut rows = Vec::new();
    for (field, reason, change, bits) in fields {
        for &bit in bits {
            let mut payment = rig.pay(0);
            change(&mut payment, bit);
            rows.push((format!("bit {bit} of {field}"), reason, payment));
        }
    }
    for bit in (0..64 * 8).step_by(37) {
        let mut payment = rig.buyer(0).pay(terms);
        let mut signature = payment.signature.to_vec();
        flip(&mut signature, bit);
        payment.signature = signature.into();
        rows.push((format!("bit {bit} of the signature"), Reason::InvalidSignature, payment));
    }
    assert_refused(&rig, rows).await?;
    rig.close().await?.assert(0, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_of_another_form_or_key_or_domain_is_refused() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let terms = rig.seller.requirement.clone();
    let buyer = rig.buyer(0);
    let signed = |change: &dyn Fn(&Payment) -> Bytes| {
        let payment = buyer.pay(&terms);
        Payment { signature: change(&payment), ..payment }
    };
    let v = |v: u8| signed(&|p| [&p.signature[..64], &[v]].concat().into());
    let high_s = |p: &Payment| {
        let s = ORDER - U256::from_be_slice(&p.signature[32..64]);
        [&p.signature[..32], &s.to_be_bytes::<32>(), &[55 - p.signature[64]]].concat().into()
    };
    let over = |domain: Domain| {
        signed(&|p| {
            let asset = Asset { domain: domain.clone(), ..terms.asset.as_ref().clone() };
            buyer.key.sign(typed::digest(&asset, &p.authorization)).to_bytes()
        })
    };
    let on_another_chain = signed(&|p| {
        let asset = Asset { chain: obol_core::ChainId::new(8453), ..terms.asset.as_ref().clone() };
        buyer.key.sign(typed::digest(&asset, &p.authorization)).to_bytes()
    });
    let domain = |name: &str, version: &str| Domain { name: name.to_owned(), version: version.to_owned() };
    let other = rig.buyer(1);
    let rows = [
        ("v of 2", v(2)),
        ("v of 26", v(26)),
        ("v of 29", v(29)),
        ("v of 255", v(255)),
        ("a high s", signed(&high_s)),
        (
            "another's key",
            signed(&|p| other.key.sign(typed::digest(&terms.asset, &p.authorization)).to_bytes()),
        ),
        ("the name of mainnet's domain", over(domain("USD Coin", "2"))),
        ("a version 1 of the domain", over(domain("USDC", "1"))),
        ("another chain's domain", on_another_chain),
        ("nothing at all", signed(&|_| Bytes::new())),
        ("one byte", signed(&|_| Bytes::from_static(&[27]))),
        ("64 bytes", signed(&|p| p.signature.slice(..64))),
        ("66 bytes", signed(&|p| [&p.signature[..], &[0]].concat().into())),
        ("zeros", signed(&|_| [&[0; 64][..], &[27]].concat().into())),
        ("r beyond the order", signed(&|p| [&[255; 32], &p.signature[32..]].concat().into())),
        ("s of zero", signed(&|p| [&p.signature[..32], &[0; 32], &p.signature[64..]].concat().into())),
    ];
    let rows = rows.map(|(name, payment)| (name.to_owned(), Reason::InvalidSignature, payment));
    assert_refused(&rig, rows.into()).await?;
    rig.close().await?.assert(0, &[]);
    Ok(())
}

/// A payment whose signature has this parity.
fn of_parity(buyer: &Buyer, rig: &Rig, v: u8) -> Payment {
    std::iter::repeat_with(|| buyer.pay(&rig.seller.requirement))
        .take(200)
        .find(|payment| payment.signature[64] == v)
        .expect("half of all signatures have this parity")
}

#[tokio::test(flavor = "multi_thread")]
async fn v_is_accepted_in_all_its_four_spellings_and_settles() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let buyer = rig.buyer(0);
    for (parity, written) in [(27, 27), (28, 28), (27, 0), (28, 1)] {
        let mut payment = of_parity(&buyer, &rig, parity);
        payment.signature = [&payment.signature[..64], &[written]].concat().into();
        assert_eq!(rig.seller.attempt(&payment).await?, Sale::Served, "v {written}");
    }
    // The other parity is somebody else's signature.
    let mut payment = of_parity(&buyer, &rig, 27);
    payment.signature = [&payment.signature[..64], &[1]].concat().into();
    assert_refused(&rig, vec![("the other parity".to_owned(), Reason::InvalidSignature, payment)]).await?;
    rig.close().await?.assert(4, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_that_was_taken_with_one_signature_is_not_retried_with_another_spelling() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let mut payment = of_parity(&rig.buyer(0), &rig, 27);
    let held = rig.seller.grant(&payment).await?;
    payment.signature = [&payment.signature[..64], &[0]].concat().into();
    let rows = vec![("the same, spelt otherwise".to_owned(), Reason::InFlight, payment.clone())];
    assert_refused(&rig, rows).await?;
    let mut other = payment.authorization.clone();
    other.valid_before += U256::ONE;
    let other = rig.buyer(0).sign(&rig.seller.requirement, other);
    assert_refused(&rig, vec![("other terms".to_owned(), Reason::TermsChanged, other)]).await?;
    let owed = rig.seller.owe(held).await?;
    assert_eq!(rig.seller.finish(owed).await?, Sale::Served);
    rig.close().await?.assert(1, &[]);
    Ok(())
}
