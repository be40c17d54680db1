-- +goose Up

-- What the documented window shows of each conversation, in one row: it is read with
-- each request and written with each answer.
CREATE TABLE conversations (
	thread TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	last   TEXT COLLATE "C" NOT NULL, -- the request whose answer came last
	turns  TEXT COLLATE "C" NOT NULL  -- oldest first, each a line "role bytes", the text, and a line feed
);
INSERT INTO conversations (thread, last, turns)
	SELECT thread, 'turn:' || MAX(seq), string_agg(role || ' ' || octet_length(text) || chr(10) || text || chr(10), '' ORDER BY seq)
	FROM turns GROUP BY thread;
DROP TABLE turns;
