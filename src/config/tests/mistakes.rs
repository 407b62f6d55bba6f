//! Every mistake that a file can hold, with the place and the words it is answered with.

mod broken_files;
mod clients;
mod tokens;

use super::*;

/// What a file is answered with, one problem a line.
fn answer(text: impl AsRef<[u8]>) -> String {
    match read(text) {
        Ok(_) => "sound".into(),
        Err(problems) => problems.to_string(),
    }
}

/// What is replaced in the sound config, by what; the one problem's place, and words of its message.
#[rustfmt::skip] // One row, one mistake.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    // Shapes.
    ("failover:", "failovr:", "16:1", "unknown field `failovr`; did you mean `failover`?"),
    ("attempts: 4", "tries: 4", "16:45", "unknown field `tries`; known names: `attempts`"),
    ("attempts: 4", "body_memory: 0B", "16:58", "write more than 0B"),
    ("attempts: 4", "over_body_memory: wait", "16:63", "known names: `stream`, `refuse`"),
    ("models: [gpt-4o] }", "models: [gpt-4o], priority: high }", "15:111", "does not support `priority` yet"),
    ("deadline: 10m", "x-deadline: 10m", "16:13", "unknown field"),
    ("failover:", "limits: {}\nfailover:", "16:1", "does not support `limits` yet"),
    ("attempts: 4", "attempts: four", "16:55", "this is a string, but it must be a whole number"),
    ("attempts: 4", "attempts: 4.5", "16:55", "it must be a whole number"),
    ("deadline: 10m", "deadline: 10", "16:23", "a duration needs a unit; write 10s"),
    ("deadline: 10m", "connect_timeout: 2", "16:30", "write 2s (or 2ms, 2m)"),
    ("deadline: 10m", "connect_timeout: 2.5", "16:30", "write 2500ms"),
    ("deadline: 10m", "connect_timeout: -2.5", "16:30", "it must be a string"),
    ("32MiB", "1.5", "16:38", "write 1536KiB"),
    ("deadline: 10m", "connect_timeout: \"2\"", "16:30", "a number with its unit, like 250ms"),
    ("32MiB", "32", "16:38", "a size needs a unit; write 32MiB"),
    ("deadline: 10m", "deadline: { m: 10 }", "16:13", "this is a mapping, but it must be a string"),
    ("deployments:\n", "version: [1]\n    deployments:\n", "11:5", "this is a list, but it must be a string"),
    ("swc: { endpoint: \"https://contoso-swc.openai.azure.com\", identity: vm }", "swc: vm", "7:8", "it must be a mapping"),
    ("[{ address: \"127.0.0.1:8080\" }]", "", "1:1", "this is empty, but it must be a list"),
    ("admin: { address: \"127.0.0.1:9090\" }", "admin: {}", "2:1", "`address` is missing"),
    ("{ endpoint: \"https://contoso-swc.openai.azure.com\", identity: vm }", "{ identity: vm }", "7:3", "`endpoint` is missing"),
    ("- { instance: frc, deployment", "- { deployment", "13:9", "`instance` is missing"),
    ("[{ address: \"127.0.0.1:8080\" }]", "[]", "1:1", "write `- address: 0.0.0.0:8080`"),
    // Names.
    ("identity: vm", "identity: vn", "7:70", "no identity has this name; did you mean `vm`?"),
    ("instance: swc", "instance: swk", "12:21", "no instance has this name; did you mean `swc`?"),
    ("models: [gpt-4o] ", "models: [gpt-4] ", "15:102", "no model has this name; did you mean `gpt-4o`?"),
    ("models: [gpt-4o] ", "models: [] ", "15:93", "list models"),
    ("  app: {", "  my app: {", "15:3", "visible ASCII"),
    ("app: { keys", "\"\": { keys", "15:3", "1 to 128"),
    // Deployments.
    ("weight: 2", "weight: 0", "12:47", "a weight must be 1 or more"),
    ("priority: 1", "priority: 0", "12:36", "a priority must be 1 or more"),
    ("priority: 1", "priority: -1", "12:36", "a priority must be 1 or more"),
    ("priority: 1", "priority: 1, type: ptu", "12:45", "known names: `standard`, `provisioned`"),
    ("clients:", "  GPT-4o: { deployments: [{ instance: frc, deployment: x }] }\nclients:", "14:3", "line 10 has a model whose name differs only in case"),
    ("frc, deployment: gpt-4o-1120", "swc, deployment: GPT-4o", "13:9", "this deployment is already in line 12"),
    ("frc, deployment: gpt-4o-1120", "swc", "13:9", "this deployment is already in line 12"),
    ("clients:", "  o: { deployments: [{ instance: swc, deployment: gpt-4o }] }\nclients:", "14:22", "model `gpt-4o` already has this deployment (line 12)"),
    ("clients:", "  empty: { deployments: [] }\nclients:", "14:12", "at least one deployment"),
    // Instances.
    ("https://contoso-swc.openai.azure.com", "contoso swc", "7:20", "https://NAME.openai.azure.com"),
    ("https://contoso-swc.openai.azure.com", "contoso-swc.openai.azure.com", "7:20", "must start with https:// (or http://); write https://contoso-swc.openai.azure.com"),
    ("https://contoso-swc.openai.azure.com", "contoso-swc.openai.azure.com/openai/v1/", "7:20", "write https://contoso-swc.openai.azure.com"),
    ("https://contoso-swc.openai.azure.com", "localhost:8000", "7:20", "write http://localhost:8000"),
    ("https://contoso-swc.openai.azure.com", "ftp://contoso", "7:20", "must start with https://"),
    ("https://contoso-swc.openai.azure.com", "http://contoso", "7:20", "insecure_http: true"),
    ("identity: vm", "identity: vm, kind: azure", "7:80", "known names: `azure_openai`, `openai`"),
    ("identity: vm", "identity: vm, scope: \"https://contoso\"", "7:81", "must end in /.default"),
    ("identity: vm", "identity: vm, connect_to: contoso", "7:86", "like 10.0.0.4"),
    ("identity: vm", "identity: vm, ca: none.pem", "7:78", "none.pem can't be read"),
    ("identity: vm", "identity: vm, probe: {}", "7:74", "does not support `probe` yet"),
    ("https://contoso-swc.openai.azure.com", "https://contoso-swc.openai.azure.com/openai", "7:20", "write https://contoso-swc.openai.azure.com"),
    ("https://contoso-swc.openai.azure.com", "https://contoso-swc.openai.azure.com/openai/v1/", "7:20", "Forebay adds /openai/… and the deployment itself; write https://contoso-swc.openai.azure.com"),
    ("https://contoso-swc.openai.azure.com", "https://apim.contoso.com/ai/openai/deployments/gpt-4o", "7:20", "write https://apim.contoso.com/ai"),
    ("https://contoso-swc.openai.azure.com", "https://contoso-swc.openai.azure.com/openai/deployments/gpt-4o/chat/completions?api-version=2025-01-01-preview", "7:20", "an endpoint must not contain a user, a query or a fragment; write https://contoso-swc.openai.azure.com"),
    ("https://contoso-swc.openai.azure.com", "https://contoso.services.ai.azure.com/api/projects/one", "7:20", "write https://contoso.services.ai.azure.com"),
    ("https://contoso-swc.openai.azure.com", "https://contoso.services.ai.azure.com/models/chat/completions?api-version=2024-05-01-preview", "7:20", "write https://contoso.services.ai.azure.com"),
    ("https://contoso-swc.openai.azure.com\", identity: vm", "http://127.0.0.1:8000/v1/chat/completions\", kind: openai, identity: vm", "7:20", "write http://127.0.0.1:8000/v1"),
    // Identities.
    ("{ managed_identity: {} }", "{}", "4:3", "set exactly one of `managed_identity`, `workload_identity`"),
    ("{ managed_identity: {} }", "{ managed_identity: {}, api_key: x }", "4:3", "set exactly one of `managed_identity`, `workload_identity`"),
    ("{ managed_identity: {} }", "{ client_certificate: { tenant_id: t, client_id: c } }", "4:9", "`certificate` is missing"),
    ("{ managed_identity: {} }", "{ client_certificate: { tenant_id: t, client_id: c, certificate: none.pem } }", "4:72", "none.pem can't be read"),
    ("{ managed_identity: {} }", "{ managed_identity: { ca: none.pem } }", "4:33", "none.pem can't be read"),
    ("{ managed_identity: {} }", "{ workload_identity: { ca: none.pem } }", "4:34", "none.pem can't be read"),
    ("{ managed_identity: {} }", "{ client_secret: { tenant_id: t, client_id: c, secret: s, ca: /dev/null } }", "4:69", "contains no certificate"),
    ("{ managed_identity: {} }", "{ managed_identity: { endpoint: \"http://h/path\" } }", "4:39", "remove the path"),
    ("{ managed_identity: {} }", "{ workload_identity: { authority: \"http://h\" } }", "4:41", "so it must be https://"),
    ("api_key: swordfish", "api_key: \"\"", "5:22", "a secret must not be empty"),
    // References.
    ("swordfish", "\"${env:UNSET}\"", "5:22", "variable UNSET is not set; set it"),
    ("swordfish", "\"a${file:none/key}b\"", "5:22", "none/key can't be read"),
    ("swordfish", "\"${SET}\"", "5:22", "${env:NAME} or ${file:PATH}"),
    ("swordfish", "\"${env:SET\"", "5:22", "has no closing }"),
    // Values.
    ("deadline: 10m", "deadline: soon", "16:23", "like 250ms, 30s or 10m"),
    ("deadline: 10m", "deadline: 8days", "16:23", "7days or less"),
    ("deadline: 10m", "deadline: 0s", "16:23", "more than 0s"),
    ("32MiB", "32MB", "16:38", "like 512B, 32KiB"),
    ("32MiB", "99999999999999GiB", "16:38", "like 512B, 32KiB"),
    ("32MiB", "0B", "16:38", "more than 0B"),
    ("attempts: 4", "attempts: 0", "16:55", "from 1 to"),
    ("attempts: 4", "more_statuses: [429]", "16:61", "write a status from 400 to 499"),
    ("attempts: 4", "more_statuses: [503]", "16:61", "429 and 5xx fail over anyway"),
    ("attempts: 4", "retry_budget: { share: 20 }", "16:68", "write 20%"),
    ("attempts: 4", "retry_budget: { share: 120% }", "16:68", "from 0% to 100%"),
    ("failover:", "metrics: { clients: -1 }\nfailover:", "16:21", "from 0 to 1000000"),
    ("failover:", "metrics: { client_series: 10000001 }\nfailover:", "16:27", "from 0 to 10000000"),
    ("failover:", "metrics: { client: 1 }\nfailover:", "16:12", "did you mean `clients`?"),
    ("clients:", "  none: { deployments: [{ instance: swc }] }\nclients:", "14:3", "the name `none` is reserved in metrics"),
    ("  app: {", "  other: {", "15:3", "the name `other` is reserved in metrics; give this client"),
    ("  app: {", "  none: {", "15:3", "the name `none` is reserved in metrics; give this client"),
    ("attempts: 4", "retry_budget: { floor: -1 }", "16:68", "from 0 to 1000000"),
    ("failover:", "breaker: { faults: 0 }\nfailover:", "16:20", "from 1 to 1000"),
    ("failover:", "breaker: { window: 0s }\nfailover:", "16:20", "more than 0s"),
    ("failover:", "breaker: { pause: 5m }\nfailover:", "16:19", "longer than `longest_pause`"),
    ("failover:", "breaker: { unsaid_pause: 5m }\nfailover:", "16:26", "longer than `longest_pause`"),
    ("gpt-4o:\n    deployments:\n", "gpt-4o:\n    first_byte_timeout: 0s\n    deployments:\n", "11:25", "more than 0s"),
    // What stands before it.
    ("failover:", "front_door: {}\nfailover:", "16:1", "`ids` is missing here"),
    ("failover:", "front_door: { ids: [] }\nfailover:", "16:15", "list an id"),
    ("failover:", "front_door: { ids: [contoso] }\nfailover:", "16:21", "a GUID like"),
    ("failover:", "front_door: { ids: [0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5g] }\nfailover:", "16:21", "a GUID like"),
    ("failover:", "front_door: { ids: [0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f], networks: [] }\nfailover:", "16:60", "list a network"),
    ("failover:", "front_door: { ids: [0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f], networks: [10.0.0.0/33] }\nfailover:", "16:71", "write a network like 10.0.0.0/8"),
    ("failover:", "front_door: { ids: [0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f], networks: [10.0.0.1/8] }\nfailover:", "16:71", "has bits set beyond"),
    ("failover:", "front_door: { id: x }\nfailover:", "16:15", "unknown field `id`; did you mean `ids`?"),
    ("failover:", "server: { header_timeout: 0s }\nfailover:", "16:27", "more than 0s"),
    ("failover:", "server: { forward_headers: [x y] }\nfailover:", "16:29", "not a header name"),
    ("failover:", "server: { forward_headers: [Cookie] }\nfailover:", "16:29", "never forwarded"),
    ("failover:", "server: { forward_headers: [x-azure-ref] }\nfailover:", "16:29", "never forwarded"),
    ("failover:", "server: { forward_headers: [accept] }\nfailover:", "16:29", "always forwarded"),
    ("failover:", "server: { forward_headers: [x-a, X-A] }\nfailover:", "16:34", "already listed"),
    ("failover:", "server: { forward_headers: [] }\nfailover:", "16:11", "list a header"),
    ("failover:", "server: { forward_query: [Api-Key] }\nfailover:", "16:27", "never forwarded"),
    ("failover:", "server: { forward_query: [api-version] }\nfailover:", "16:27", "always forwarded where"),
    ("failover:", "server: { forward_query: [a=b] }\nfailover:", "16:27", "not a parameter name"),
    ("failover:", "server: { forward_query: [] }\nfailover:", "16:11", "list a parameter"),
    ("failover:", "server: { answer_headers: [Set-Cookie] }\nfailover:", "16:28", "never forwarded"),
    ("failover:", "server: { answer_headers: [content-type] }\nfailover:", "16:28", "always forwarded"),
    ("failover:", "server: { answer_headers: [server, Server] }\nfailover:", "16:36", "already listed"),
    ("failover:", "server: { answer_headers: [] }\nfailover:", "16:11", "list a header"),
    ("failover:", "server: { forward_headers: [a, b, c, d, e, f, g, h, i, j] }\nfailover:", "16:11", "list at most 9"),
    // Where telemetry goes.
    ("failover:", "otlp: {}\nfailover:", "16:1", "`endpoint` is missing"),
    ("failover:", "otlp: { endpoint: \"http://c:4317\" }\nfailover:", "16:19", "insecure_http: true"),
    ("failover:", "otlp: { endpoint: \"http://127.0.0.1:4317/v1\" }\nfailover:", "16:19", "gRPC has no path"),
    ("failover:", "otlp: { endpoint: \"127.0.0.1:4317\" }\nfailover:", "16:19", "must start with https://"),
    ("failover:", "otlp: { endpoint: \"https://c..c:4317\" }\nfailover:", "16:19", "can't be verified"),
    ("failover:", "otlp: { endpoint: \"https://c\", protocol: json }\nfailover:", "16:42", "known names: `grpc`, `http`"),
    ("failover:", "otlp: { endpoint: \"https://c\", ca: none.pem }\nfailover:", "16:36", "none.pem can't be read"),
    ("failover:", "otlp: { endpoint: \"https://c\", signals: [] }\nfailover:", "16:32", "list a signal"),
    ("failover:", "otlp: { endpoint: \"https://c\", signals: [logs] }\nfailover:", "16:42", "known names: `traces`, `metrics`"),
    ("failover:", "otlp: { endpoint: \"https://c\", traces: { sample: 0.1 } }\nfailover:", "16:50", "it must be a string"),
    ("failover:", "otlp: { endpoint: \"https://c\", traces: { sample: 101% } }\nfailover:", "16:50", "from 0% to 100%"),
    ("failover:", "otlp: { endpoint: \"https://c\", metrics: { interval: 0s } }\nfailover:", "16:53", "more than 0s"),
    ("failover:", "otlp: { endpoint: \"https://c\", headers: { te: x } }\nfailover:", "16:43", "set by the protocol"),
    ("failover:", "otlp: { endpoint: \"https://c\", headers: { a b: x } }\nfailover:", "16:43", "not a header name"),
    ("failover:", "otlp: { endpoint: \"https://c\", headers: { a: x, A: y } }\nfailover:", "16:49", "listed twice"),
    ("failover:", "otlp: { endpoint: \"https://c\", headers: { a: \"\" } }\nfailover:", "16:46", "a header value must not be empty"),
    ("failover:", "otlp: { endpoint: \"https://c\", headers: { a: \"x\\ny\" } }\nfailover:", "16:46", "only visible ASCII"),
    ("failover:", "otlp: { endpoint: \"https://c\", resource: { a: 1 } }\nfailover:", "16:47", "it must be a string"),
    // Listeners.
    ("127.0.0.1:8080", "localhost", "1:24", "an IP address and a port"),
    ("127.0.0.1:9090", "0.0.0.0:8080", "2:19", "this address is already used in line 1"),
    ("\"127.0.0.1:8080\" }", "\"127.0.0.1:8080\" }, { address: \"127.0.0.1:8080\" }", "1:55", "already used in line 1"),
    ("127.0.0.1:9090", "0.0.0.0:9090", "2:19", "write 127.0.0.1, or add token:"),
    ("127.0.0.1:9090", "[::]:9090", "2:19", "or tls: with client_ca: and certificates:"),
    ("127.0.0.1:9090\"", "127.0.0.1:9090\", token: hunter2", "2:44", "`forebay hash-key` prints it"),
    ("127.0.0.1:8080\"", "127.0.0.1:8080\", max_connections: 0", "1:59", "from 1 to 1000000"),
    ("127.0.0.1:8080\"", "127.0.0.1:8080\", max_connections: many", "1:59", "it must be a whole number"),
    ("attempts: 4 }", "attempts: 4 }\nserver: { handshake_timeout: 0s }", "17:30", "more than 0s"),
    ("attempts: 4 }", "attempts: 4 }\nserver: { write_timeout: soon }", "17:26", "like 250ms, 30s or 10m"),
    ("swordfish", "${env:SET}", "5:23", "quote strings that contain { } [ ] , or a colon"),
    // Clients.
    ("models: [gpt-4o] }", "models: [gpt-4o], certificates: [] }", "15:111", "like `- uri: spiffe://contoso/batch`"),
    ("models: [gpt-4o] }", "models: [gpt-4o], certificates: [{ dns: \"*.contoso\" }] }", "15:133", "wildcards are not expanded"),
    ("models: [gpt-4o] }", "models: [gpt-4o], certificates: [{ dns: \"a\\0b\" }] }", "15:133", "has a control character"),
    ("models: [gpt-4o] }", "models: [gpt-4o], certificates: [{ uri: contoso }] }", "15:133", "like spiffe://"),
    ("models: [gpt-4o] }", "models: [gpt-4o], certificates: [{ email: contoso }] }", "15:135", "one @"),
    ("models: [gpt-4o] }", "models: [gpt-4o], certificates: [{ common_name: \"\" }] }", "15:141", "this is empty"),
    ("models: [gpt-4o] }", "models: [gpt-4o], certificates: [{ subject: contoso }] }", "15:137", "like CN=batch,OU=AI,O=Contoso"),
    ("models: [gpt-4o] }", "models: [gpt-4o], certificates: [{ subject: \"CN=a+OU=b\" }] }", "15:137", "joins two values"),
    ("models: [gpt-4o] }", "models: [gpt-4o], certificates: [{ cn: a }] }", "15:128", "unknown field `cn`"),
    ("models: [gpt-4o] }", "models: [gpt-4o], certificates: [{}] }", "15:126", "set exactly one of `subject`, `common_name`"),
    ("models: [gpt-4o] }", "models: [gpt-4o], certificates: [{ dns: a, uri: \"b:c\" }] }", "15:126", "set exactly one of `subject`"),
    ("models: [gpt-4o] }", "models: [gpt-4o], certificates: [{ dns: a }, { dns: A }] }", "15:145", "this name is already in line 15"),
    ("https://contoso-swc.openai.azure.com", "https://[]", "7:20", "its DNS name or its IP address"),
    ("https://contoso-swc.openai.azure.com", "https://a..b", "7:20", "its DNS name or its IP address"),
    ("sha256:2a97516c", "sha256:", "15:17", "`forebay hash-key` prints it"),
    ("models: [gpt-4o] }", "models: [gpt-4o], operations: [inferense] }", "15:124", "this value is not allowed here; did you mean `inference`?"),
    ("models: [gpt-4o] }", "models: [gpt-4o], operations: [inference, files] }", "15:135", "does not support `files` yet"),
    ("models: [gpt-4o] }", "models: [gpt-4o], operations: [] }", "15:111", "to allow inference only"),
    ("models: [gpt-4o] }", "models: [gpt-4o], operations: realtime }", "15:123", "it must be a list"),
    ("models: [gpt-4o] }", "models: [gpt-4o], operations: [stateful] }", "15:124", "add inference"),
    ("models: [gpt-4o] }", "models: [gpt-4o], operations: [data_sources] }", "15:124", "add inference"),
    ("models: [gpt-4o] }", "models: [gpt-4o], operations: [realtime, stateful] }", "15:134", "add inference"),
    ("keys: [\"sha256:2a97516c354b68848cdbd8f54a226a0a55b21ed138e207ad6c5cbb9c00aa5aea\"], ", "", "15:3", "needs a credential"),
    // Limits.
    ("models: [gpt-4o] }", "models: [gpt-4o], limits: { tokens_per_minute: 0 } }", "15:140", "a limit must be a number from 1 to 1000000000000"),
    ("models: [gpt-4o] }", "models: [gpt-4o], limits: { requests_per_minute: -5 } }", "15:142", "remove it for no limit"),
    ("models: [gpt-4o] }", "models: [gpt-4o], limits: { tokens_per_hour: 2000000000000 } }", "15:138", "a limit must be a number"),
    ("models: [gpt-4o] }", "models: [gpt-4o], limits: { tokens_per_minute: 60k } }", "15:140", "it must be a whole number"),
    ("models: [gpt-4o] }", "models: [gpt-4o], limits: { tokens_per_week: 5 } }", "15:121", "unknown field `tokens_per_week`; did you mean `tokens_per_"),
    ("models: [gpt-4o] }", "models: [gpt-4o], limits: { max_output_tokens: 5, over_max_output_tokens: cut } }", "15:167", "known names: `clamp`, `refuse`"),
    ("models: [gpt-4o] }", "models: [gpt-4o], limits: { over_max_output_tokens: clamp } }", "15:145", "needs `max_output_tokens`"),
    ("models: [gpt-4o] }", "models: [gpt-4o], limits: { models: {} } }", "15:121", "list a model here"),
    ("models: [gpt-4o] }", "models: [gpt-4o], limits: { models: { gpt-4: { n: 1 } } } }", "15:131", "no model has this name; did you mean `gpt-4o`?"),
    ("models: [gpt-4o] }", "models: [gpt-4o], limits: { models: { gpt-4o: { models: {} } } } }", "15:141", "unknown field `models`"),
    ("models: [gpt-4o] }", "models: [gpt-4o], limits: { models: { gpt-4o: { concurrency: 0 } } } }", "15:154", "a limit must be a number"),
    ("failover:", "counters: { time_zone: Europe/Atlantis }\nfailover:", "16:24", "no time zone has this name; write one like Europe/Berlin"),
    ("failover:", "counters: { time_zone: \"\" }\nfailover:", "16:24", "this is empty"),
    ("failover:", "counters: { file: none/counters.redb }\nfailover:", "16:19", "the folder of this file does not exist"),
    ("clients:", "anonymous: true\nclients:", "14:12", "remove one of the two"),
    ("clients:", "anonymous: 1\nclients:", "14:12", "true or false"),
];

#[test]
fn each_mistake_is_answered_at_its_place_with_the_mend() {
    let mut wrong = Vec::new();
    for (part, other, place, words) in MISTAKES {
        let answer = answer(with(part, other));
        let wanted = answer.starts_with(&format!("f.yaml:{place}: ")) && answer.contains(words);
        if !wanted || answer.lines().count() != 1 {
            wrong.push(format!("{other}\n  wanted {place} {words}\n  got {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_missing_part_hides_no_mistake_elsewhere() {
    let text = with("attempts: 4", "attempts: 0").replace("clients:", "#");
    let answer = answer(text.replace("  app: {", "# {"));
    assert!(answer.contains("nobody could call"), "{answer}");
    assert!(answer.contains("a number from 1 to"), "{answer}");
}

#[test]
fn a_dozen_mistakes_are_reported_in_one_run_in_the_order_of_the_file() {
    let text = r#"listeners: [{ address: 8080 }]
identities:
  vm: { managed_identity: { clientid: x } }
  legacy: { api_key: [swordfish] }
instances:
  swc: { endpoint: "http://contoso", identity: vm, geography: us }
  frc: { identity: lagacy, kind: openai }
models:
  gpt-4o:
    deployments:
      - { instance: swc, weight: 0, priority: -1 }
      - { instance: frc, prioritty: 2 }
      - { instance: nowhere }
clients:
  app: { keys: [swordfish], models: [gpt-5] }
  app: {}
failover: { attempts: 0, deadline: 5 minuets }
geography: eu
limits: {}
"#;
    let places: Vec<String> = answer(text)
        .lines()
        .map(|line| line.splitn(4, ':').take(3).collect::<Vec<_>>()[1..].join(":"))
        .collect();
    assert_eq!(
        places.join(" "),
        "1:24 3:29 4:13 6:20 6:63 7:3 7:3 7:20 11:34 11:47 12:26 13:21 15:17 15:38 16:3 17:23 17:36 19:1",
        "{}",
        answer(text)
    );
}

#[test]
fn a_section_that_is_missing_or_broken_is_not_held_against_those_that_name_its_things() {
    let broken = with("legacy: { api_key: swordfish }", "legacy: { api_key: 5 }");
    assert_eq!(answer(broken).lines().count(), 1);
    let nameless = SOUND.replace("identities:\n", "identitys:\n");
    assert_eq!(
        answer(nameless),
        "f.yaml:3:1: unknown field `identitys`; did you mean `identities`?"
    );
}

#[test]
fn no_answer_repeats_a_secret_wherever_it_stands() {
    for (part, other) in [
        ("api_key: swordfish", "api_key: [swordfish]"),
        ("api_key: swordfish", "api_key: { swordfish: swordfish1 }"),
        ("api_key: swordfish", "api_key:swordfish1"),
        ("api_key: swordfish", "api_kee: swordfish"),
        ("{ api_key: swordfish }", "api_key swordfish"),
        ("api_key: swordfish", "api_key: \"swordfish"),
        ("api_key: swordfish", "api_key: sword fish"),
        ("api_key: swordfish", "api_key: \"${env:SET}\u{e9}\""),
        ("api_key: swordfish", "managed_identity: swordfish"),
        (
            "api_key: swordfish",
            "client_secret: { secret: { swordfish: 1 } }",
        ),
        ("identity: vm", "identity: swordfish"),
        ("identity: vm", "identity: vm, kind: swordfish"),
        (
            "https://contoso-swc.openai.azure.com",
            "https://swordfish@contoso",
        ),
        ("10m", "swordfish"),
        ("127.0.0.1:8080", "${env:SET}"),
        ("[gpt-4o] }", "[\"${env:SET}\"] }"),
    ] {
        let answer = answer(with(part, other));
        assert!(
            answer != "sound" && !answer.contains("swordfish"),
            "{other}: {answer}"
        );
    }
}
