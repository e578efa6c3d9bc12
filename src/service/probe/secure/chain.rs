//! What the certificates of a server say, read also when they are not trusted.

use jiff::Timestamp;
use x509_parser::x509::X509Name;

use crate::clock;
use crate::domain::probe::expect::{CERT_ISSUER, CERT_SUBJECT, FieldValue, shorten};
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::Certificate;
use crate::domain::sanitise;

/// Certificates of a chain that are read: real ones have two or three.
pub const CHAIN_MAX: usize = 8;
/// Characters kept of a name in a certificate.
const NAME_MAX: usize = 200;

/// Reads the chain as the server sent it, leaf first. What cannot be read is left out.
pub fn read(chain: &[Vec<u8>]) -> Vec<Certificate> {
    chain.iter().take(CHAIN_MAX).filter_map(|it| certificate(it)).collect()
}

/// Counts the days anew: a connection may have been kept for long.
pub fn renewed(mut chain: Vec<Certificate>) -> Vec<Certificate> {
    for certificate in &mut chain {
        certificate.days = days_left(certificate.not_after);
    }
    chain
}

/// Puts a chain into evidence and values: `cert.days` are those of the certificate that ends first.
pub fn tell(chain: Vec<Certificate>, seen: &mut Observation) {
    let Some(leaf) = chain.first() else { return };
    let first_to_end = chain.iter().enumerate().min_by_key(|(index, it)| (it.not_after, *index));
    // Over several places the earliest of all counts.
    if let Some((index, it)) = first_to_end.filter(|(_, it)| seen.values.cert_days.is_none_or(|days| it.days < days)) {
        seen.values.cert_days = Some(it.days);
        seen.values.cert_named = (index > 0).then(|| it.subject.clone());
    }
    let fields = &mut seen.values.fields;
    fields.retain(|(name, _)| *name != CERT_ISSUER.name && *name != CERT_SUBJECT.name);
    fields.push((CERT_ISSUER.name, FieldValue::Texts(vec![leaf.issuer.clone()])));
    fields.push((CERT_SUBJECT.name, FieldValue::Texts(vec![leaf.subject.clone()])));
    seen.evidence.certificate = Some(leaf.clone());
    seen.evidence.chain = chain;
}

fn certificate(der: &[u8]) -> Option<Certificate> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
    let not_after = Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()?;
    Some(Certificate {
        days: days_left(not_after),
        not_after,
        subject: name(parsed.subject()),
        issuer: name(parsed.issuer()),
    })
}

fn days_left(not_after: Timestamp) -> i64 {
    (not_after.as_second() - clock::now().as_second()).div_euclid(86_400)
}

fn name(it: &X509Name<'_>) -> String {
    let common = it.iter_common_name().next().and_then(|it| it.as_str().ok().map(str::to_string));
    shorten(&sanitise::text(&common.unwrap_or_else(|| it.to_string())), NAME_MAX)
}
