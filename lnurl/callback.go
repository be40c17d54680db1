package lnurl

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// parameter is a value of the query, decoded in both ways that wallets encode.
type parameter struct{ form, path string }

// parseQuery splits a query at "&" alone. net/url would refuse the ";" that
// encodeURI, of NIP-57's own example, leaves in a zap request.
func parseQuery(raw string) (map[string]parameter, error) {
	out := map[string]parameter{}
	if strings.Count(raw, "&") >= maxParameters {
		return nil, timmy.Errorf(timmy.Invalid, "too many parameters")
	}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(k)
		if err != nil {
			return nil, timmy.Errorf(timmy.Invalid, "malformed query")
		}
		form, err := url.QueryUnescape(v)
		if err != nil {
			return nil, timmy.Errorf(timmy.Invalid, "malformed query")
		}
		path, err := url.PathUnescape(v)
		if err != nil {
			return nil, timmy.Errorf(timmy.Invalid, "malformed query")
		}
		if _, twice := out[name]; twice && name == "amount" {
			form, path = "", "" // answered with what an amount may be
		} else if twice {
			return nil, timmy.Errorf(timmy.Invalid, "%s was given twice", strconv.Quote(short(name)))
		}
		out[name] = parameter{form, path}
	}
	return out, nil
}

func short(s string) string { return s[:min(len(s), 20)] }

// callback is the second call of LUD-06: it makes the invoice.
func (s *Server) callback(w http.ResponseWriter, r *http.Request) {
	now := s.cfg.Now()
	top, code, err := s.topUp(r.Context(), r.URL.RawQuery)
	switch timmy.CodeOf(err) {
	case "":
	case timmy.Invalid:
		s.fail(w, http.StatusOK, timmy.MessageOf(err))
		return
	default:
		s.unavailable(w, "reading a claim code", err)
		return
	}
	if !s.invoices.take(prefixOf(r, s.cfg.TrustedProxies), now) || !s.takeTotal() {
		s.limited(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	inv, err := s.cfg.Till.Invoice(ctx, top)
	switch code := timmy.CodeOf(err); {
	case code == timmy.Conflict && inv.Bolt11 != "" && inv.Amount == top.Amount:
		// the same zap request again: the same invoice
	case code == timmy.Conflict && inv.Bolt11 != "":
		s.fail(w, http.StatusOK, "this zap request has an invoice over another amount")
		return
	case code == timmy.Conflict || code == timmy.Invalid:
		s.fail(w, http.StatusOK, timmy.MessageOf(err))
		return
	case code == timmy.Limited:
		s.limited(w)
		return
	case err != nil:
		s.unavailable(w, "making an invoice", err)
		return
	}
	s.counts.invoices.Add(1)
	if top.Purpose == timmy.ForZap {
		s.counts.zaps.Add(1)
	}
	reply(w, http.StatusOK, map[string]any{
		"pr": inv.Bolt11, "routes": []string{}, "verify": s.cfg.PublicURL + "/lnurlp/verify/" + inv.Hash.String(),
		"successAction": map[string]string{"tag": "message", "message": thanks(top.Account, code)},
	})
}

func (s *Server) takeTotal() bool {
	s.totalMu.Lock()
	defer s.totalMu.Unlock()
	return s.total.take(s.cfg.Total, s.cfg.Now())
}

// thanks says where the money went. LUD-09 allows 144 characters. Whose a claim code
// is, is not said to who only has the code.
func thanks(a timmy.Account, code timmy.ClaimCode) string {
	if code != "" {
		return "Credited to the owner of " + string(code)
	}
	if k, ok := a.User(); ok {
		return "Credited to " + nip.Npub(k)
	}
	return "Thank you! This tip is not credited to anybody."
}

// topUp reads what is to be paid, by whom and for what. Who says nothing of
// themselves but a claim code pays for its owner.
func (s *Server) topUp(ctx context.Context, raw string) (top timmy.TopUp, code timmy.ClaimCode, err error) {
	q, err := parseQuery(raw)
	if err != nil {
		return top, "", err
	}
	amount, err := s.amount(q["amount"].form)
	if err != nil {
		return top, "", err
	}
	comment := q["comment"].form
	if err := checkComment(comment); err != nil {
		return top, "", err
	}
	if q["nostr"].form != "" {
		var said string
		top, said, err = s.zap(q["nostr"], amount)
		comment = said + "\n" + comment
	} else {
		top, err = s.plain(q["payerdata"].form, amount)
	}
	if err != nil || top.Account != timmy.HouseRevenue {
		return top, "", err
	}
	top.Account, code, err = s.claimed(ctx, comment)
	return top, code, err
}

// claimed is the account of an anonymous payment. A code that nobody has is refused
// before it is paid: a slip of the pen would be a gift.
func (s *Server) claimed(ctx context.Context, comment string) (timmy.Account, timmy.ClaimCode, error) {
	code, ok := timmy.FindClaimCode(comment)
	if !ok {
		return timmy.HouseRevenue, "", nil
	}
	a, err := s.cfg.Book.Claimed(ctx, code)
	if timmy.CodeOf(err) == timmy.NotFound {
		return a, "", timmy.Errorf(timmy.Invalid, "nobody has the claim code %s: check it, or leave it out to give a tip", code)
	}
	return a, code, err
}

// amount takes plain decimal digits: no sign, fraction, exponent, space or
// leading zero, so that nobody reads another number than we do.
func (s *Server) amount(v string) (timmy.Msat, error) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != v || timmy.Msat(n) < s.cfg.Min || timmy.Msat(n) > s.cfg.Max {
		return 0, timmy.Errorf(timmy.Invalid, "amount must be between %d and %d millisatoshi", s.cfg.Min, s.cfg.Max)
	}
	return timmy.Msat(n), nil
}

// checkComment is LUD-12. Some clients always send an empty comment.
func checkComment(c string) error {
	if utf8.RuneCountInString(c) > MaxComment {
		return timmy.Errorf(timmy.Invalid, "the comment may have %d characters", MaxComment)
	}
	if !utf8.ValidString(c) || strings.ContainsFunc(c, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
		return timmy.Errorf(timmy.Invalid, "the comment has control characters")
	}
	return nil
}

// zap is a payment with a zap request. The invoice commits to exactly the bytes
// that the wallet signed: the reading of the query under which the signature
// holds. A private zap that cannot be opened is refused, for its sender expects to
// be credited.
func (s *Server) zap(p parameter, amount timmy.Msat) (top timmy.TopUp, comment string, err error) {
	now := s.cfg.Now()
	z, err := nip.ParseZapRequest([]byte(p.form), s.cfg.Key, s.cfg.Key, amount, now)
	if err != nil && p.path != p.form {
		if again, errPath := nip.ParseZapRequest([]byte(p.path), s.cfg.Key, s.cfg.Key, amount, now); errPath == nil {
			z, err = again, nil
		}
	}
	if err != nil {
		return top, "", err
	}
	if z.Lnurl != "" && !s.ours(z.Lnurl) {
		return top, "", timmy.Errorf(timmy.Invalid, "the zap request is for another lightning address")
	}
	account, comment := timmy.UserAccount(z.From), z.Comment
	switch {
	case z.Private != "":
		from, said, err := s.cfg.Private(z)
		if err != nil {
			return top, "", err
		}
		account, comment = timmy.UserAccount(from), said
	case z.Anonymous:
		account = timmy.HouseRevenue
	}
	return timmy.TopUp{
		Account: account, Purpose: timmy.ForZap, Amount: amount, DescriptionHash: sha256.Sum256(z.Raw),
		Description: z.Raw, Zap: z.Raw, ZapID: z.Event.ID,
	}, comment, nil
}

// ours reports whether a zap request's lnurl tag means us: bech32, URL or
// address.
func (s *Server) ours(v string) bool {
	if u, err := nip.DecodeLNURL(v); err == nil {
		v = u
	}
	v = strings.ToLower(v)
	return v == s.PayURL() || v == s.Address()
}

// plain is a payment without a zap request: for the account of the key that
// payerdata names, else a tip. A key that cannot be read is refused, for its
// owner expects to be credited.
func (s *Server) plain(payer string, amount timmy.Msat) (timmy.TopUp, error) {
	account := timmy.HouseRevenue
	if payer != "" {
		key, err := payerKey(payer)
		if err != nil {
			return timmy.TopUp{}, err
		}
		if !key.IsZero() {
			account = timmy.UserAccount(key)
		}
	}
	description := []byte(s.metadata + payer)
	return timmy.TopUp{
		Account: account, Purpose: timmy.ForPay, Amount: amount,
		DescriptionHash: sha256.Sum256(description), Description: description,
	}, nil
}

// payerKey reads LUD-18's data: a JSON object, of which only "pubkey" is ours.
func payerKey(raw string) (timmy.PubKey, error) {
	if len(raw) > maxPayerData || !utf8.ValidString(raw) {
		return timmy.PubKey{}, timmy.Errorf(timmy.Invalid, "payerdata may have %d bytes", maxPayerData)
	}
	var data map[string]json.RawMessage
	if err := json.Unmarshal([]byte(raw), &data); err != nil || data == nil {
		return timmy.PubKey{}, timmy.Errorf(timmy.Invalid, "payerdata must be a JSON object")
	}
	field, ok := data["pubkey"]
	if !ok || string(field) == "null" {
		return timmy.PubKey{}, nil
	}
	var text string
	if err := json.Unmarshal(field, &text); err != nil {
		return timmy.PubKey{}, errPayer()
	}
	if text == "" {
		return timmy.PubKey{}, nil
	}
	key, _, err := nip.ParseNpub(text)
	if err != nil {
		return timmy.PubKey{}, errPayer()
	}
	return key, nil
}

func errPayer() error {
	return timmy.Errorf(timmy.Invalid, "payerdata: pubkey must be a Nostr key: an npub or 64 hex digits")
}
