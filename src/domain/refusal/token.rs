//! Why a client's token is rejected: a closed set, for our own log and metrics. The client only learns that it is.

macro_rules! rejections {
    ($($(#[$about:meta])* $name:ident = $word:literal,)*) => {
        /// Why a token lets nobody in, in the order in which it is found out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rejection {
            $($(#[$about])* $name,)*
        }

        impl Rejection {
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word in the access log and in metrics.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

rejections! {
    TooLong = "too_long",
    /// Not three parts of base64url, or no JSON objects in them, or one that says something twice.
    Malformed = "malformed",
    /// A JWE.
    Encrypted = "encrypted",
    /// A token within a token.
    Nested = "nested",
    /// It wants something understood that we don't (`crit`).
    Critical = "critical_header",
    /// A token for another purpose, by its `typ`.
    WrongType = "wrong_type",
    /// One that its issuer is not to use, `none` and shared secrets among them.
    Algorithm = "algorithm_not_allowed",
    NoKeyId = "no_key_id",
    UnknownIssuer = "unknown_issuer",
    /// Its issuer publishes no key of this id.
    UnknownKeyId = "unknown_key_id",
    /// The key of this id is of another kind than the algorithm.
    WrongKey = "wrong_key",
    BadSignature = "bad_signature",
    /// A claim we go by is of a kind it can't be.
    BadClaim = "bad_claim",
    NoExpiry = "no_expiry",
    Expired = "expired",
    NotYetValid = "not_yet_valid",
    IssuedInFuture = "issued_in_future",
    /// Only whoever holds a certain key may use it (`cnf`).
    Bound = "bound_to_a_key",
    WrongTenant = "wrong_tenant",
    /// It says who signed in, and to no application's request: an ID token.
    NoAccessToken = "no_access_token",
    WrongAudience = "wrong_audience",
    WrongApplication = "wrong_application",
    /// A person's, where an application's own is wanted.
    NotAppOnly = "not_app_only",
    /// An application's own, where a person's is wanted.
    NotDelegated = "not_delegated",
    ScopeMissing = "scope_missing",
    RoleMissing = "role_missing",
    /// Its owner is in too many groups for Entra to list them in a token.
    GroupsLeftOut = "groups_left_out",
    GroupMissing = "group_missing",
    WrongClaim = "wrong_claim",
    /// Two clients or more, none of which demands all that the others do.
    SeveralClients = "several_clients",
}
