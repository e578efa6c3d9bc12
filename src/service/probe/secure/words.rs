//! What rustls says of certificates and handshakes, in words that a person can act on.

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// Why a certificate is not valid, and what to do, where that is known.
pub fn invalid(error: &CertificateError) -> String {
    let known = match error {
        CertificateError::BadEncoding => "it cannot be read: have it issued anew",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet: is the clock of this host right?"
        }
        CertificateError::Revoked => "it was revoked",
        CertificateError::UnhandledCriticalExtension => "it demands an extension that is not understood here",
        CertificateError::UnknownIssuer => "its issuer is not trusted: name its CA with `ca`",
        CertificateError::BadSignature => {
            "its signature is wrong: was another certificate of the same CA's name meant?"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "it is for another name",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not meant for servers: issue it with the extended key usage `serverAuth`"
        }
        CertificateError::Other(other) => return rule(&other.0.to_string()),
        other => return rule(&format!("{other:?}")),
    };
    known.to_string()
}

/// A rule of X.509 that is broken, by the name that the verifier has for it.
fn rule(name: &str) -> String {
    // Details stand in brackets.
    let name = name.split(['(', ' ', '{']).next().unwrap_or_default();
    let known = match name {
        "CaUsedAsEndEntity" => {
            "it is the certificate of a CA: issue one for the server, with `CA:FALSE` (a self-signed one as well)"
        }
        "EndEntityUsedAsCa" => "what issued it is no CA: issue the intermediate with `CA:TRUE`",
        "PathLenConstraintViolated" => "its CA may not issue CAs below it: the chain is too long for it",
        "NameConstraintViolation" => "its CA may not issue for this name",
        "RequiredEkuNotFound" | "RequiredEkuNotFoundContext" => {
            "it is not meant for servers: issue it with the extended key usage `serverAuth`"
        }
        "UnsupportedCertVersion" => "it is of an old version: issue it as X.509 version 3",
        "UnsupportedSignatureAlgorithm"
        | "UnsupportedSignatureAlgorithmContext"
        | "UnsupportedSignatureAlgorithmForPublicKey"
        | "UnsupportedSignatureAlgorithmForPublicKeyContext"
        | "UnsupportedSignatureAlgorithmForPublicKeyContext2" => {
            "it is signed in a way that is not trusted any more (SHA-1, or a short key): have it issued anew"
        }
        "MaximumSignatureChecksExceeded" | "MaximumPathBuildCallsExceeded" | "MaximumPathDepthExceeded" => {
            "its chain is too long or branches too often: send the leaf and its intermediates only"
        }
        "InvalidSerialNumber"
        | "InvalidCertValidity"
        | "MalformedExtensions"
        | "MalformedDnsIdentifier"
        | "MalformedNameConstraint"
        | "ExtensionValueInvalid"
        | "TrailingData"
        | "BadDer"
        | "BadDerTime" => "it is malformed: have it issued anew",
        "UnknownRevocationStatus" => "it is not known whether it was revoked",
        other => return format!("it breaks a rule of certificates (`{other}`)"),
    };
    known.to_string()
}

/// What a server that ends a handshake says.
pub fn alert(alert: AlertDescription) -> String {
    let known = match alert {
        AlertDescription::CertificateRequired => "it asks for a client certificate: name one with `client`",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => "it does not accept the client certificate",
        AlertDescription::UnknownCA => "it does not trust the CA of the client certificate",
        AlertDescription::CertificateExpired => "the client certificate has expired",
        AlertDescription::CertificateRevoked => "the client certificate was revoked",
        AlertDescription::AccessDenied => "it gives this client no access",
        AlertDescription::UnrecognisedName => "it serves no site of this name",
        AlertDescription::ProtocolVersion => "it speaks neither TLS 1.2 nor TLS 1.3",
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "it has no cipher in common with us, or wants a client certificate"
        }
        AlertDescription::NoApplicationProtocol => "it does not speak the protocol that was asked for (`http2`)",
        AlertDescription::InternalError => "it has an error of its own",
        other => return format!("alert `{other:?}`"),
    };
    known.to_string()
}

/// Why a handshake failed otherwise.
pub fn failure(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => format!("the certificate is not valid: {}", invalid(error)),
        Error::AlertReceived(it) => format!("the server refused it: {}", alert(*it)),
        Error::NoCertificatesPresented => "the server sent no certificate".into(),
        Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
            "the server speaks neither TLS 1.2 nor TLS 1.3".into()
        }
        Error::PeerIncompatible(_) => "the server has no cipher or key exchange in common with us".into(),
        Error::PeerMisbehaved(_) => "the server breaks the protocol".into(),
        Error::NoApplicationProtocol => "the server does not speak the protocol that was asked for (`http2`)".into(),
        Error::PeerSentOversizedRecord => "the answer is not TLS, or broken".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::OtherError;

    use super::*;

    #[derive(Debug)]
    struct Said(&'static str);

    impl std::fmt::Display for Said {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Said {}

    #[test]
    fn no_error_is_told_in_the_words_of_a_program() {
        let other = |it| CertificateError::Other(OtherError(Arc::new(Said(it))));
        for (error, wanted) in [
            (other("CaUsedAsEndEntity"), "CA:FALSE"),
            (other("EndEntityUsedAsCa"), "is no CA"),
            (other("PathLenConstraintViolated"), "too long"),
            (other("NameConstraintViolation"), "for this name"),
            (other("UnsupportedCertVersion"), "version 3"),
            (other("MaximumPathDepthExceeded"), "its chain is too long"),
            (other("TrailingData(Certificate)"), "malformed"),
            (other("Unheard { of: 1 }"), "(`Unheard`)"),
            (CertificateError::BadEncoding, "anew"),
            (CertificateError::Revoked, "revoked"),
            (CertificateError::UnhandledCriticalExtension, "extension"),
            (CertificateError::UnknownIssuer, "`ca`"),
            (CertificateError::BadSignature, "signature is wrong"),
            (CertificateError::InvalidPurpose, "serverAuth"),
            (CertificateError::UnknownRevocationStatus, "not known"),
            (CertificateError::Expired, "expired"),
            (CertificateError::NotValidYet, "clock"),
        ] {
            let text = invalid(&error);
            assert!(text.contains(wanted) && !text.contains("Error("), "{error:?}: {text}");
        }
        for (it, wanted) in [
            (AlertDescription::CertificateRequired, "`client`"),
            (AlertDescription::UnknownCA, "CA of the client"),
            (AlertDescription::UnrecognisedName, "no site"),
            (AlertDescription::ProtocolVersion, "TLS 1.2"),
            (AlertDescription::HandshakeFailure, "cipher"),
            (AlertDescription::DecodeError, "alert `DecodeError`"),
        ] {
            assert!(alert(it).contains(wanted), "{it:?}: {}", alert(it));
        }
        for error in [
            Error::NoCertificatesPresented,
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            Error::NoApplicationProtocol,
            Error::InvalidCertificate(other("CaUsedAsEndEntity")),
        ] {
            let text = failure(&error);
            assert!(!text.contains("::") && !text.contains("Error(") && !text.contains("Other("), "{text}");
        }
    }
}
