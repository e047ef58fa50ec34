DROP TABLE {g}.signing_key, {g}.lockout, {g}.login_limit, {g}.ticket, {g}.refresh_token, {g}.tenant,
  {g}.fence, {g}.cluster;
