package main

// Settings is every setting there is: the one place where its names, its
// default and its explanation stand. The tags:
//
//	toml     key within its table in timmy.toml; "-" for secrets, which come from
//	         the environment or from the file that their _file setting names
//	env      environment variable
//	flag     command line flag
//	default  as it would be written in the environment
//	oneof    the values allowed, separated by spaces
//	min,max  bounds of a number, both allowed; a text or list has at most max bytes or items
//	doc      for --help, timmy config example and the man pages
type Settings struct {
	Tower    TowerSettings   `toml:"tower"`
	Model    ModelSettings   `toml:"model"`
	Wallet   WalletSettings  `toml:"wallet"`
	Pricing  PricingSettings `toml:"pricing"`
	Pool     PoolSettings    `toml:"pool"`
	Sessions SessionSettings `toml:"sessions"`
	Refunds  RefundSettings  `toml:"refunds"`
	Relay    RelaySettings   `toml:"relay"`
	HTTP     HTTPSettings    `toml:"http"`
	Log      LogSettings     `toml:"log"`
}

// TowerSettings is who and where the tower is.
type TowerSettings struct {
	Name      string   `toml:"name" env:"TIMMY_NAME" flag:"name" default:"Timmy" max:"64" doc:"name in the profile, and in lower case of the lightning address"`
	Listen    string   `toml:"listen" env:"TIMMY_LISTEN" flag:"listen" default:"127.0.0.1:8080" doc:"host:port of relay, HTTP API, LNURL and page"`
	PublicURL string   `toml:"public_url" env:"TIMMY_PUBLIC_URL" flag:"public-url" doc:"how others reach it, as in https://timmy.example; empty: http://<listen>"`
	DataDir   string   `toml:"data_dir" env:"TIMMY_DATA_DIR" flag:"data-dir" default:"./timmy-data" doc:"folder of databases, keys and timmy.toml"`
	Operators []string `toml:"operators" env:"TIMMY_OPERATORS" flag:"operators" max:"32" doc:"keys (npub or hex) that get alerts and may manage the tower"`
	Workers   int64    `toml:"workers" env:"TIMMY_WORKERS" flag:"workers" default:"8" min:"1" max:"1024" doc:"requests that run at the same time"`
	Database  Secret   `toml:"-" env:"TIMMY_DATABASE_URL" doc:"address of a PostgreSQL database (postgres://user:password@host/name, 15 or newer) for the books and the events, which several towers may share; empty: SQLite in the data directory"`
	Shutdown  int64    `toml:"shutdown_seconds" env:"TIMMY_SHUTDOWN_SECONDS" flag:"shutdown-seconds" default:"25" min:"1" max:"600" doc:"how long running requests may take to end when the tower stops"`
}

// ModelSettings is what thinks.
type ModelSettings struct {
	Kind      string `toml:"kind" env:"TIMMY_MODEL" flag:"model" default:"builtin" oneof:"builtin openai" doc:"builtin answers simple things offline; openai is any OpenAI-compatible server"`
	BaseURL   string `toml:"openai_base_url" env:"TIMMY_OPENAI_BASE_URL" flag:"openai-base-url" default:"https://api.openai.com/v1" doc:"address of the OpenAI-compatible server"`
	APIKey    Secret `toml:"-" env:"TIMMY_OPENAI_API_KEY" doc:"its API key"`
	KeyFile   string `toml:"openai_api_key_file" env:"TIMMY_OPENAI_API_KEY_FILE" flag:"openai-api-key-file" doc:"file that holds its API key"`
	Eval      string `toml:"eval_model" env:"TIMMY_EVAL_MODEL" flag:"eval-model" max:"200" doc:"model that decides whether a request is accepted"`
	Work      string `toml:"work_model" env:"TIMMY_WORK_MODEL" flag:"work-model" max:"200" doc:"model that answers"`
	OutputMax int64  `toml:"output_max_tokens" env:"TIMMY_OUTPUT_MAX_TOKENS" flag:"output-max-tokens" default:"1024" min:"16" max:"200000" doc:"longest answer, in tokens"`
}

// WalletSettings is where Lightning payments arrive.
type WalletSettings struct {
	Kind      string `toml:"kind" env:"TIMMY_WALLET" flag:"wallet" default:"fake" oneof:"fake lnbits lnd cln phoenixd nwc lnaddress" doc:"the wallet that is paid; fake makes regtest invoices that anybody can settle, for trying out"`
	Network   string `toml:"network" env:"TIMMY_NETWORK" flag:"network" oneof:"mainnet testnet signet regtest simnet" doc:"network of the wallet; empty: regtest for fake, mainnet for all others"`
	LNbitsURL string `toml:"lnbits_url" env:"TIMMY_LNBITS_URL" flag:"lnbits-url" doc:"address of the LNbits server"`
	LNbitsKey Secret `toml:"-" env:"TIMMY_LNBITS_KEY" doc:"invoice key of the LNbits wallet"`
	KeyFile   string `toml:"lnbits_key_file" env:"TIMMY_LNBITS_KEY_FILE" flag:"lnbits-key-file" doc:"file that holds the invoice key of the LNbits wallet"`

	LNDURL      string `toml:"lnd_url" env:"TIMMY_LND_URL" flag:"lnd-url" doc:"address of lnd's REST listener, as in https://127.0.0.1:8080"`
	LNDMacaroon string `toml:"lnd_macaroon_file" env:"TIMMY_LND_MACAROON_FILE" flag:"lnd-macaroon-file" doc:"lnd's invoice.macaroon"`
	LNDCert     string `toml:"lnd_cert_file" env:"TIMMY_LND_CERT_FILE" flag:"lnd-cert-file" doc:"lnd's tls.cert, the only certificate that is believed; empty: the usual authorities"`
	LNDPrivate  bool   `toml:"lnd_private" env:"TIMMY_LND_PRIVATE" flag:"lnd-private" default:"true" doc:"put routing hints for private channels into invoices"`

	CLNURL      string `toml:"cln_url" env:"TIMMY_CLN_URL" flag:"cln-url" doc:"address of Core Lightning's clnrest, as in https://127.0.0.1:3010"`
	CLNRune     Secret `toml:"-" env:"TIMMY_CLN_RUNE" doc:"rune for invoice, listinvoices, waitanyinvoice and getinfo (for refunds also xpay and listpays)"`
	CLNRuneFile string `toml:"cln_rune_file" env:"TIMMY_CLN_RUNE_FILE" flag:"cln-rune-file" doc:"file that holds the rune"`
	CLNCert     string `toml:"cln_cert_file" env:"TIMMY_CLN_CERT_FILE" flag:"cln-cert-file" doc:"Core Lightning's ca.pem, the only certificate that is believed; empty: the usual authorities"`

	PhoenixdURL      string `toml:"phoenixd_url" env:"TIMMY_PHOENIXD_URL" flag:"phoenixd-url" default:"http://127.0.0.1:9740" doc:"address of phoenixd"`
	PhoenixdPassword Secret `toml:"-" env:"TIMMY_PHOENIXD_PASSWORD" doc:"http-password-limited-access of phoenix.conf"`
	PhoenixdPassFile string `toml:"phoenixd_password_file" env:"TIMMY_PHOENIXD_PASSWORD_FILE" flag:"phoenixd-password-file" doc:"file that holds the password"`

	NWC     Secret `toml:"-" env:"TIMMY_NWC" doc:"Nostr Wallet Connect string (nostr+walletconnect://…) that allows to make and look up invoices"`
	NWCFile string `toml:"nwc_file" env:"TIMMY_NWC_FILE" flag:"nwc-file" doc:"file that holds the Nostr Wallet Connect string"`

	LNAddress string `toml:"lnaddress" env:"TIMMY_LNADDRESS" flag:"lnaddress" max:"256" doc:"lightning address (name@host) of a provider that is paid for the tower; without zaps"`
}

// PricingSettings is what a request costs. All decimals are exact, with at most
// six digits after the point.
type PricingSettings struct {
	EvalIn  Micro  `toml:"eval_usd_per_mtok_in" env:"TIMMY_EVAL_USD_PER_MTOK_IN" flag:"eval-usd-per-mtok-in" default:"0.25" max:"10000" doc:"USD for a million tokens that the evaluating model reads"`
	EvalOut Micro  `toml:"eval_usd_per_mtok_out" env:"TIMMY_EVAL_USD_PER_MTOK_OUT" flag:"eval-usd-per-mtok-out" default:"1.25" max:"10000" doc:"USD for a million tokens that it writes"`
	WorkIn  Micro  `toml:"work_usd_per_mtok_in" env:"TIMMY_WORK_USD_PER_MTOK_IN" flag:"work-usd-per-mtok-in" default:"3" max:"10000" doc:"USD for a million tokens that the answering model reads"`
	WorkOut Micro  `toml:"work_usd_per_mtok_out" env:"TIMMY_WORK_USD_PER_MTOK_OUT" flag:"work-usd-per-mtok-out" default:"15" max:"10000" doc:"USD for a million tokens that it writes"`
	Infra   Micro  `toml:"infra_usd" env:"TIMMY_INFRA_USD" flag:"infra-usd" default:"0.001" max:"100" doc:"USD on top of every request, for the machine"`
	Margin  Micro  `toml:"margin_percent" env:"TIMMY_MARGIN_PERCENT" flag:"margin-percent" default:"40" max:"1000" doc:"earned on top of the cost, in percent"`
	BTC     Micro  `toml:"btc_usd" env:"TIMMY_BTC_USD" flag:"btc-usd" max:"100000000" doc:"static price of a bitcoin in USD; empty: ask the price sources, or 100000 while neither wallet nor model are real"`
	Source  string `toml:"btc_source" env:"TIMMY_BTC_SOURCE" flag:"btc-source" oneof:"static oracle" doc:"where the bitcoin price comes from; empty: static if btc_usd is set"`
}

// PoolSettings is the free pool, from which known keys get something for
// nothing.
type PoolSettings struct {
	Sats  int64 `toml:"sats" env:"TIMMY_POOL_SATS" flag:"pool-sats" default:"0" min:"0" max:"100000000" doc:"sats that the operator puts into the pool, once"`
	Share int64 `toml:"share_percent" env:"TIMMY_POOL_SHARE_PERCENT" flag:"pool-share-percent" default:"10" min:"0" max:"100" doc:"part of what is earned that goes into the pool, in percent"`
}

// SessionSettings is the documented session API's. Its variables have the names
// that were documented first.
type SessionSettings struct {
	MinDeposit   int64  `toml:"min_deposit_sats" env:"SESSION_MIN_DEPOSIT_SATS" flag:"session-min-deposit-sats" default:"100" min:"1" max:"100000000" doc:"smallest deposit or top-up"`
	MaxDeposit   int64  `toml:"max_deposit_sats" env:"SESSION_MAX_DEPOSIT_SATS" flag:"session-max-deposit-sats" default:"10000" min:"1" max:"100000000" doc:"largest deposit or top-up"`
	MinBalance   int64  `toml:"min_balance_sats" env:"SESSION_MIN_BALANCE_SATS" flag:"session-min-balance-sats" default:"50" min:"1" max:"100000000" doc:"balance below which a session pauses"`
	ExpiryHours  int64  `toml:"expiry_hours" env:"SESSION_EXPIRY_HOURS" flag:"session-expiry-hours" default:"24" min:"1" max:"8760" doc:"hours a session lives after it was last used"`
	ShowMacaroon string `toml:"show_macaroon" env:"TIMMY_SHOW_MACAROON" flag:"show-macaroon" default:"always" oneof:"always until-used never" doc:"when reading a session shows its bearer"`
}

// RefundSettings is how unspent money goes back.
type RefundSettings struct {
	PerDay int64 `toml:"sats_per_day" env:"TIMMY_REFUNDS_SATS_PER_DAY" flag:"refunds-sats-per-day" default:"0" min:"0" max:"100000000" doc:"most that refunds may take out of the wallet in 24 hours, routing fees included; 0: no refunds. The wallet's key must be able to pay"`
}

// RelaySettings is the relay's, and how other relays are met.
type RelaySettings struct {
	Indexers         []string `toml:"indexers" env:"TIMMY_INDEXERS" flag:"indexers" max:"32" doc:"relays (wss://…) on which profiles and relay lists are published and looked up"`
	AllowPrivate     bool     `toml:"allow_private_relays" env:"TIMMY_ALLOW_PRIVATE_RELAYS" flag:"allow-private-relays" default:"false" doc:"connect to relays at private addresses, for tests and home networks"`
	Frames           int64    `toml:"frames_per_second" env:"TIMMY_RELAY_FRAMES_PER_SECOND" flag:"relay-frames-per-second" default:"300" min:"1" max:"1000000" doc:"messages a second that one connection may send, after a burst of a thousand"`
	PerAddress       int64    `toml:"connections_per_address" env:"TIMMY_RELAY_CONNECTIONS_PER_ADDRESS" flag:"relay-connections-per-address" default:"256" min:"1" max:"100000" doc:"connections that one address (IPv6: /64) may have open"`
	InboxRelays      []string `toml:"inbox_relays" env:"TIMMY_INBOX_RELAYS" flag:"inbox-relays" max:"2" doc:"other relays (wss://…) on which messages may be left for the tower; published and read beside the own one"`
	Writers          string   `toml:"writers" env:"TIMMY_RELAY_WRITERS" flag:"relay-writers" default:"anyone" oneof:"anyone trusted allowed" doc:"who may write on the relay; trusted: whom the operators follow, and whom those follow. Messages to the tower are taken from everybody"`
	AllowedKeys      []string `toml:"allowed_keys" env:"TIMMY_RELAY_ALLOWED_KEYS" flag:"relay-allowed-keys" max:"10000" doc:"keys (npub or hex) that may always write"`
	WriterTier       string   `toml:"writer_tier" env:"TIMMY_RELAY_WRITER_TIER" flag:"relay-writer-tier" oneof:"established trusted elite" doc:"customers of this tier and above may write, too"`
	Admission        int64    `toml:"admission_sats" env:"TIMMY_RELAY_ADMISSION_SATS" flag:"relay-admission-sats" default:"0" min:"0" max:"1000000" doc:"what others pay once to write; 0: it is not for sale"`
	TrustRelays      []string `toml:"trust_relays" env:"TIMMY_TRUST_RELAYS" flag:"trust-relays" max:"8" doc:"relays that are asked who follows whom; empty: the indexers"`
	Kinds            []string `toml:"kinds" env:"TIMMY_RELAY_KINDS" flag:"relay-kinds" max:"200" doc:"kinds that are taken, such as 1 or 30000-39999; empty: all"`
	RefusedKinds     []string `toml:"refused_kinds" env:"TIMMY_RELAY_REFUSED_KINDS" flag:"relay-refused-kinds" max:"200" doc:"kinds that are not"`
	PowBits          int64    `toml:"pow_bits" env:"TIMMY_RELAY_POW_BITS" flag:"relay-pow-bits" default:"0" min:"0" max:"40" doc:"proof of work (NIP-13) asked of keys that the operators do not know, where anyone may write"`
	AuthWraps        bool     `toml:"auth_for_wraps" env:"TIMMY_RELAY_AUTH_FOR_WRAPS" flag:"relay-auth-for-wraps" default:"false" doc:"take gift wraps from clients only that have signed in (NIP-42)"`
	StrictInbox      bool     `toml:"strict_inbox" env:"TIMMY_RELAY_STRICT_INBOX" flag:"relay-strict-inbox" default:"false" doc:"the rules for writing hold for messages to the tower, too: strangers can then neither ask nor pay over its relay"`
	Retention        []string `toml:"retention" env:"TIMMY_RELAY_RETENTION" flag:"relay-retention" max:"200" doc:"kinds=days that events are kept, such as 7=30, or *=1000 for all that are not named, replaceable, or deletions"`
	EventsPerAddress int64    `toml:"events_per_address" env:"TIMMY_RELAY_EVENTS_PER_ADDRESS" flag:"relay-events-per-address" default:"6000" min:"0" max:"10000000" doc:"events a minute from one address (IPv6: /64); four times as many from a /24 or /48; 0: no limit"`
	EventsPerKey     int64    `toml:"events_per_key" env:"TIMMY_RELAY_EVENTS_PER_KEY" flag:"relay-events-per-key" default:"600" min:"0" max:"10000000" doc:"events a minute of one key; 0: no limit"`
	CopyToSelf       bool     `toml:"copy_to_self" env:"TIMMY_COPY_TO_SELF" flag:"copy-to-self" default:"true" doc:"keep an encrypted copy of every answer for the tower's own key"`
}

// HTTPSettings is what stands around the HTTP server.
type HTTPSettings struct {
	Metrics     string   `toml:"metrics_listen" env:"TIMMY_METRICS_LISTEN" flag:"metrics-listen" default:"127.0.0.1:9090" doc:"host:port of Prometheus metrics, never public; empty or off: none"`
	Proxies     []string `toml:"trusted_proxies" env:"TIMMY_TRUSTED_PROXIES" flag:"trusted-proxies" max:"64" doc:"networks (CIDR) of proxies whose X-Forwarded-For is believed"`
	AnyProxy    bool     `toml:"trust_any_proxy" env:"TIMMY_TRUST_ANY_PROXY" flag:"trust-any-proxy" default:"false" doc:"allow 0.0.0.0/0 among the trusted proxies: every caller can then claim any address"`
	PerMinute   int64    `toml:"rate_per_minute" env:"TIMMY_RATE_PER_MINUTE" flag:"rate-per-minute" default:"3000" min:"0" max:"1000000" doc:"HTTP calls a minute from one address, requests on paid sessions left out; 0: no limit"`
	NewSessions int64    `toml:"sessions_per_minute" env:"TIMMY_SESSIONS_PER_MINUTE" flag:"sessions-per-minute" default:"300" min:"0" max:"1000000" doc:"new sessions a minute from one address; 0: no limit"`
	MPP         bool     `toml:"mpp" env:"TIMMY_MPP" flag:"mpp" default:"false" doc:"offer the HTTP scheme Payment (MPP) on POST /ask beside L402: charges, and with refunds sessions too"`
}

// LogSettings is the log, on stderr. It never shows secrets or messages.
type LogSettings struct {
	Level  string `toml:"level" env:"TIMMY_LOG_LEVEL" flag:"log-level" default:"info" oneof:"debug info warn error" doc:"least severe line that is logged"`
	Format string `toml:"format" env:"TIMMY_LOG_FORMAT" flag:"log-format" default:"text" oneof:"text json" doc:"form of a log line"`
}
