package tower

import (
	"context"
	"strings"
	"testing"

	"github.com/timmy-tower/timmy"
)

// paperRack holds the papers of alice alone.
type paperRack struct{}

func (paperRack) Find(_ context.Context, k timmy.PubKey, prefix string) ([]timmy.RequestID, error) {
	if k != alice || !strings.HasPrefix("abcdef", prefix) {
		return nil, nil
	}
	return []timmy.RequestID{"abcdef"}, nil
}

func (paperRack) Receipt(_ context.Context, id timmy.RequestID) ([]byte, error) {
	return []byte(`{"receipt":"` + id + `"}`), nil
}

func (paperRack) Proof(_ context.Context, a timmy.Account) ([]byte, error) {
	return []byte(`{"account":"` + a + `"}`), nil
}

// Excludes a receipt or a proof for anybody but the account's holder.
func TestPapersGoToTheirHolderAlone(t *testing.T) {
	r := newRig()
	ask := func(text string, from timmy.PubKey) string {
		q := dm("c", text)
		q.From = from
		return r.desk.command(t.Context(), timmy.Job{Request: q}).Text
	}
	if got := ask("/proof", alice); !strings.Contains(got, "signs no") {
		t.Errorf("without papers: %q", got)
	}
	r.desk.cfg.Papers = paperRack{}
	for _, c := range []struct {
		text string
		from timmy.PubKey
		want string
	}{
		{"/receipt abcd", alice, `{"receipt":"abcdef"}`},
		{"/receipt #req #abcd", alice, `{"receipt":"abcdef"}`},
		{"/receipt abcd", timmy.PubKey{9}, "no question of yours"},
		{"/receipt ab", alice, "Say which"},
		{"/receipt", alice, "Say which"},
		{"/proof", alice, `{"account":"` + string(timmy.UserAccount(alice)) + `"}`},
	} {
		if got := ask(c.text, c.from); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", c.text, got)
		}
	}
}
