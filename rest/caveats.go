package rest

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/timmy-tower/timmy"
)

// The caveats that are understood; others are skipped, as L402 has it. A holder may
// add any to hand a token on: the same one again may only narrow.
const (
	caveatServices     = "services"           // a list that has timmy:0
	caveatCapabilities = "timmy_capabilities" // a list of chat and account
	caveatValidUntil   = "timmy_valid_until"  // unix seconds
	caveatMaxSats      = "timmy_max_sats"     // the most that one request may cost
)

const serviceName = "timmy:0"

// capability is something that a token may allow.
type capability string

const (
	mayChat    capability = "chat"    // ask, and fetch the answers
	mayAccount capability = "account" // everything else that the session's bearer may
)

// grant is what a credential allows, its caveats added up.
type grant struct {
	may   []capability
	until time.Time  // zero: no limit
	most  timmy.Msat // of one request; 0: no limit
}

// everything is the grant of a session's own bearer.
func everything() grant { return grant{may: []capability{mayChat, mayAccount}} }

func (g grant) allows(c capability) bool { return slices.Contains(g.may, c) }

// caveats of a session's bearer. Its end is far beyond the session's own, which
// slides: money that is left must not outlive the token that it belongs to.
func (a *API) caveats(s timmy.Session) []string {
	return []string{
		caveatServices + "=" + serviceName,
		caveatValidUntil + "=" + strconv.FormatInt(s.Created.Add(macaroonLife).Unix(), 10),
	}
}

// challengeCaveats of a token that is shown before it is paid.
func (a *API) challengeCaveats(s timmy.Session) []string {
	return append(a.caveats(s),
		caveatCapabilities+"="+string(mayChat)+","+string(mayAccount),
		caveatMaxSats+"="+strconv.FormatInt(a.cfg.MaxDeposit.Sats(), 10))
}

// granted adds caveats up. False: one cannot be read, widens an earlier one, is of
// another service, or the time is over.
func (a *API) granted(caveats []string) (grant, bool) {
	g := everything()
	for _, c := range caveats {
		name, value, _ := strings.Cut(c, "=")
		narrow := map[string]func(string) bool{
			caveatServices:     func(v string) bool { return slices.Contains(strings.Split(v, ","), serviceName) },
			caveatCapabilities: g.narrowCapabilities, caveatValidUntil: g.narrowUntil, caveatMaxSats: g.narrowMost,
		}[name]
		if narrow != nil && !narrow(value) {
			return grant{}, false
		}
	}
	return g, g.until.IsZero() || a.cfg.Now().Before(g.until)
}

func (g *grant) narrowCapabilities(value string) bool {
	var may []capability
	for v := range strings.SplitSeq(value, ",") {
		if !g.allows(capability(v)) {
			return false
		}
		may = append(may, capability(v))
	}
	g.may = may
	return true
}

func (g *grant) narrowUntil(value string) bool {
	n, err := strconv.ParseInt(value, 10, 64)
	until := time.Unix(n, 0)
	if err != nil || n <= 0 || !g.until.IsZero() && until.After(g.until) {
		return false
	}
	g.until = until
	return true
}

func (g *grant) narrowMost(value string) bool {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n <= 0 || n > timmy.MaxMsat.Sats() || g.most > 0 && timmy.FromSats(n) > g.most {
		return false
	}
	g.most = timmy.FromSats(n)
	return true
}
