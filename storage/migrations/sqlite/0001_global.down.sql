DROP TABLE signing_key;
DROP TABLE lockout;
DROP TABLE login_limit;
DROP TABLE ticket;
DROP TABLE refresh_token;
DROP TABLE tenant;
DROP TABLE fence;
DROP TABLE cluster;
